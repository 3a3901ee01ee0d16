"""Epochs of batches: the same with readers, with the thread that prefetches, after a cut and after an error."""

import gc
import itertools
import os
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from samples import make_task
from uniseg.cache.store import CaseEntry, TaskCache, write_case, write_task
from uniseg.datasets.splits import SplitTable
from uniseg.errors import InputError
from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.datamodule import UniSegDataModule
from uniseg.sampling.device_prefetch import DevicePrefetcher
from uniseg.sampling.patches import PatchReader, make_batch
from uniseg.sampling.settings import MOST_READERS, StreamSettings
from uniseg.sampling.shared_memory import require_shared_memory

CPU, NAME, SHAPE, PATCH = torch.device("cpu"), "liver", (12, 20, 18), (8, 12, 10)
EVERYTHING = AugmentRecipe(
    p_rotation=0.6, p_scale=0.6, p_noise=0.6, p_blur=0.8, p_brightness=0.6, p_contrast=0.6, p_low_resolution=0.6,
    p_gamma_inverted=0.6, p_gamma=0.6,
)  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder, rng, task = tmp_path_factory.mktemp("cache"), np.random.default_rng(0), make_task(NAME)
    entries = [CaseEntry(letter, f"set/{letter}", SHAPE, "key") for letter in "abc"]
    for entry in entries:
        image = rng.normal(size=(1, *SHAPE)).astype(np.float32)
        write_case(folder / NAME, entry, image, (image[0] > 1).astype(np.int16), task)
    splits = SplitTable((), (("a",),), ("b", "c"), {letter: f"set/{letter}" for letter in "abc"})
    write_task(folder / NAME, task, entries, splits)
    return folder


def module(cache, **changes):
    settings = {"patch_size": PATCH, "batch_size": 2, "steps_per_epoch": 3, "val_steps": 2, "num_workers": 0}
    return UniSegDataModule([NAME], cache, StreamSettings(**settings | changes), EVERYTHING, seed=5)


def loader_of(data, split="train", *, prefetches):
    loader = data.batches(split, CPU)
    loader.prefetches = prefetches
    return loader


def expected(data, split, steps):
    stream = data.train_stream if split == "train" else data.val_stream
    reader = PatchReader(data.caches, PATCH)
    return [make_batch(reader.__getitems__(stream.batch(step)), PATCH, EVERYTHING) for step in steps]


def assert_same(batches, others):
    assert [(batch.step, batch.case_ids) for batch in batches] == [(batch.step, batch.case_ids) for batch in others]
    for one, other in zip(batches, others, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.label, other.label)
        assert torch.equal(one.task, other.task)


def epoch(data, loader):
    batches = []
    for batch in loader:
        batches.append(batch)
        data.step_done(batch.step)
    return batches


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("prefetches", [False, True])
def test_epochs_are_those_of_the_stream(cache, num_workers, prefetches):
    data = module(cache, num_workers=num_workers)
    train, val = (loader_of(data, split, prefetches=prefetches) for split in ("train", "val"))
    assert (len(train), len(val)) == (3, 2)
    for number in range(2):
        assert_same(epoch(data, train), expected(data, "train", range(3 * number, 3 * number + 3)))
        assert_same(list(val), expected(data, "val", range(2)))
    train.close()
    val.close()


@pytest.mark.parametrize("prefetches", [False, True])
def test_a_run_resumes_after_the_batch_that_was_consumed_not_the_one_that_was_prefetched(cache, prefetches):
    before = module(cache)
    loader = loader_of(before, prefetches=prefetches)
    for batch in itertools.islice(loader, 2):
        before.step_done(batch.step)
    after = module(cache)
    after.load_state_dict(before.state_dict())
    assert_same(epoch(after, loader_of(after, prefetches=prefetches)), expected(after, "train", [2]))
    loader.close()


@pytest.mark.parametrize("prefetches", [False, True])
def test_an_epoch_that_was_cut_short_is_followed_by_what_comes_next(cache, prefetches):
    data = module(cache)
    train, val = (loader_of(data, split, prefetches=prefetches) for split in ("train", "val"))
    assert_same(list(itertools.islice(val, 1)), expected(data, "val", [0]))
    assert_same(list(val), expected(data, "val", [0, 1]))
    for _ in itertools.islice(train, 2):
        pass  # not done: the run takes them again
    assert_same(epoch(data, train), expected(data, "train", range(3)))
    train.close()
    val.close()


class Pids(PatchReader):
    def __getitems__(self, requests):
        raw = super().__getitems__(requests)
        raw.requests[:] = [(os.getpid(), request) for request in raw.requests]
        return raw


def test_readers_outlive_an_epoch_and_end_with_the_loader(cache):
    data = module(cache, num_workers=1)
    loader = data.batches("train", CPU)
    loader.reader, pids = Pids(data.caches, PATCH), set()

    def make(raw):
        pids.update(pid for pid, _ in raw.requests)
        raw.requests[:] = [request for _, request in raw.requests]
        return make_batch(raw, PATCH, EVERYTHING)

    loader.make = make
    for _ in range(3):
        epoch(data, loader)
    (pid,) = pids
    assert pid != os.getpid()
    os.kill(pid, 0)
    loader._iterator = None  # as Lightning does at the end of a run
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


class Stuck(PatchReader):
    """Waits for what never comes, as on a disk that is gone."""

    def __init__(self, caches, patch_size):
        super().__init__(caches, patch_size)
        self.pipe = os.pipe()

    def __getitems__(self, requests):
        if requests[0].step > 0:
            os.read(self.pipe[0], 1)
        return super().__getitems__(requests)


def test_a_reader_that_hangs_is_killed(cache, monkeypatch):
    monkeypatch.setattr("uniseg.sampling.loader.PATIENCE_S", 0)
    data = module(cache, num_workers=1)
    loader = data.batches("train", CPU)
    loader.reader = Stuck(data.caches, PATCH)
    next(iter(loader))
    (reader,) = loader._raws._workers
    loader.close()
    for thread in threading.enumerate():
        if thread.name == "end readers":
            thread.join()
    assert reader.exitcode == -signal.SIGKILL


def test_shared_memory_that_is_full_is_told(cache, monkeypatch):
    """Torch's queue would drop the batch, and the run wait for it."""

    def full(size):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", full)
    loader = module(cache, num_workers=1).batches("train", CPU)
    with pytest.raises(InputError, match=r"data\.num_workers: found unable to allocate .* No space left"):
        next(iter(loader))


@pytest.mark.parametrize("end", ["teardown", "on_exception"])
def test_the_readers_of_every_loader_end_with_the_run(cache, end):
    data = module(cache, num_workers=1)
    strategy = SimpleNamespace(root_device=CPU)
    data.trainer = SimpleNamespace(global_rank=0, world_size=1, num_devices=1, strategy=strategy)
    loaders = [data.train_dataloader(), data.val_dataloader()]
    readers = []
    for loader in loaders:
        next(iter(loader))
        readers.extend(loader._raws._workers)
    assert all(reader.is_alive() for reader in readers)
    getattr(data, end)(None)
    assert not any(reader.is_alive() for reader in readers)
    assert_same(epoch(data, loaders[0]), expected(data, "train", range(3)))  # a second fit takes the same loaders
    data.teardown("fit")


@pytest.mark.parametrize("prefetches", [False, True])
def test_the_error_of_a_reader_comes_with_its_own_batch(cache, monkeypatch, prefetches):
    data = module(cache)
    loader, read = loader_of(data, prefetches=prefetches), TaskCache.read_box
    calls = itertools.count()

    def read_box(*arguments):
        if next(calls) == 4:  # the third batch of two
            raise OSError(5, "Input/output error", "image.b2nd")
        return read(*arguments)

    monkeypatch.setattr(TaskCache, "read_box", read_box)
    batches = iter(loader)
    assert [next(batches).step, next(batches).step] == [0, 1]
    with pytest.raises(OSError, match="Input/output error"):
        next(batches)
    assert_same(epoch(data, loader), expected(data, "train", range(3)))
    loader.close()


def test_an_error_waits_for_the_batches_before_it():
    def make(raw):
        if raw == 2:
            raise FloatingPointError("overflow")
        return raw

    prefetcher = DevicePrefetcher(iter(range(5)), make, CPU)
    assert [next(prefetcher), next(prefetcher)] == [0, 1]
    with pytest.raises(FloatingPointError, match="overflow"):
        next(prefetcher)
    with pytest.raises(StopIteration):
        next(prefetcher)


@pytest.mark.parametrize("end", [DevicePrefetcher.close, None])
def test_a_thread_ends_with_its_prefetcher(end):
    before = set(threading.enumerate())
    prefetcher = DevicePrefetcher(itertools.count(), lambda raw: raw, CPU)
    assert next(prefetcher) == 0
    (thread,) = set(threading.enumerate()) - before
    if end:
        end(prefetcher)
        with pytest.raises(StopIteration):
            next(prefetcher)
    del prefetcher
    gc.collect()
    assert not thread.is_alive()


def test_a_thread_ends_with_a_loader_that_is_let_go_of(cache):
    before = set(threading.enumerate())
    loader = loader_of(module(cache), prefetches=True)
    next(iter(loader))
    (thread,) = set(threading.enumerate()) - before
    del loader
    gc.collect()
    assert not thread.is_alive()


def test_auto_follows_the_device(monkeypatch):
    gpu = torch.device("cuda", 0)
    cores = "uniseg.sampling.settings.cpu_count"
    for count, processes, readers in [(16, 1, MOST_READERS), (8, 1, 7), (16, 4, 3), (1, 1, 1)]:
        monkeypatch.setattr(cores, lambda count=count: count)
        settings = StreamSettings().for_device(gpu, processes)
        assert (settings.num_workers, settings.pin_memory) == (readers, True)
        settings = StreamSettings().for_device(CPU, processes)
        assert (settings.num_workers, settings.pin_memory) == (1, False)
        settings = StreamSettings(num_workers=0, pin_memory=False)
        assert settings.for_device(gpu, processes) == settings


def test_shared_memory_is_looked_at_before_the_readers_start(cache, monkeypatch, tmp_path):
    data = module(cache)
    loader = data.batches("train", CPU)
    sizes = [sum(map(loader.reader.num_bytes, loader.step_sampler.batch(step))) for step in range(32)]
    for step in range(4):
        raw = loader.reader.__getitems__(loader.step_sampler.batch(step))
        held = sum(tensor.nbytes for tensor in (*raw.images, *raw.labels))
        assert held <= sizes[step] < 6 * held
    needed = sum(sizes) / 32 * 3 * 2 * 2  # three readers, two batches each, of training and of validation
    for free, outcome in [(0.9 * needed, "error"), (1.5 * needed, "warning"), (2.1 * needed, "")]:
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        if outcome == "error":
            with pytest.raises(InputError, match="--shm-size"):
                require_shared_memory(loader.reader, loader.step_sampler, 3, tmp_path)
            require_shared_memory(loader.reader, loader.step_sampler, 0, tmp_path)
            require_shared_memory(loader.reader, loader.step_sampler, 3, tmp_path / "none")
        elif outcome == "warning":
            with pytest.warns(UserWarning, match="little more"):
                require_shared_memory(loader.reader, loader.step_sampler, 3, tmp_path)
        else:
            require_shared_memory(loader.reader, loader.step_sampler, 3, tmp_path)
