"""The same request gives the same patch, whoever reads it."""

from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from samples import make_task
from uniseg.cache.store import CaseEntry, TaskCache, write_case, write_task
from uniseg.datasets.splits import SplitTable
from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.augment.spatial import sample_patch
from uniseg.sampling.batch import Batch, Padding, RawBatch
from uniseg.sampling.patches import PatchReader, make_batch
from uniseg.sampling.requests import PatchRequest, RequestStream, TaskCases
from uniseg.sampling.settings import StreamSettings
from uniseg.task import Normalization

PATCH = (8, 12, 12)
SHAPE = (20, 30, 27)


@pytest.fixture
def cache(tmp_path) -> TaskCache:
    rng = np.random.default_rng(0)
    entries = [CaseEntry(name, f"set/{name}", SHAPE, "key") for name in "ab"]
    for entry in entries:
        image = rng.normal(size=(1, *SHAPE)).astype(np.float32)
        write_case(tmp_path, entry, image, (image[0] > 1.5).astype(np.int16), make_task())
    write_task(tmp_path, make_task(), entries, SplitTable((), (("a", "b"),), (), {"a": "set/a", "b": "set/b"}))
    return TaskCache(tmp_path)


def batches(cache: TaskCache, num_workers: int) -> list[Batch]:
    recipe = AugmentRecipe()
    stream = RequestStream(
        [TaskCases("liver", ("a", "b"), (False,))],
        StreamSettings(steps_per_epoch=6, batch_size=2, foreground_fraction=0.5),
        recipe,
        seed=3,
    )
    steps = [stream.batch(step) for step in range(6)]
    loader = DataLoader(
        PatchReader([cache], PATCH), batch_sampler=steps, collate_fn=lambda raw: raw, num_workers=num_workers
    )
    return [make_batch(raw, PATCH, recipe) for raw in loader]


def test_workers_read_the_same_patches(cache):
    here, apart = batches(cache, 0), batches(cache, 2)
    assert len(here) == len(apart) == 6
    for one, other in zip(here, apart, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.label, other.label)
        assert one.case_ids == other.case_ids
    assert not torch.equal(here[0].image, here[1].image)


BRAIN = make_task("brain", ("T1", "FLAIR")).resolve([Normalization("zscore", masked=True)] * 2)


@pytest.mark.parametrize("masked", [(True, True), (True, False), (False, False)])
def test_outside_the_body_stays_zero_whatever_augmentation_does(tmp_path, masked):
    """nnU-Net's MaskImageTransform; the mask turns with the scan."""
    inside = (np.indices(SHAPE) - np.array([10, 15, 13])[:, None, None, None]) ** 2
    inside = inside.sum(0) < 64
    image = np.where(inside, np.random.default_rng(0).normal(2, 1, (2, *SHAPE)), 0).astype(np.float32)
    entry = CaseEntry("a", "set/a", SHAPE, "key")
    write_case(tmp_path, entry, image, (image[0] > 3).astype(np.int16), BRAIN)
    write_task(tmp_path, BRAIN, [entry], SplitTable((), (("a",),), (), {"a": "set/a"}))
    recipe = AugmentRecipe(p_rotation=1, p_scale=1, p_noise=1, p_contrast=1, noise_sd=(0.1, 0.1), p_channel_dropout=0)
    patch = (16, 20, 20)
    reader = PatchReader([TaskCache(tmp_path)], patch)
    rng = np.random.default_rng(1)
    draws = [recipe.draw(rng, (False, False), masked) for _ in range(4)]
    raw = reader.__getitems__([PatchRequest(0, "a", seed, False, one, 0, seed) for seed, one in enumerate(draws)])
    batch = make_batch(raw, patch, recipe)
    assert set(batch.label.unique().tolist()) == {0, 1}
    for sample, label, one, (box, _) in zip(batch.image, batch.label, draws, raw.boxes(), strict=True):
        _, body = sample_patch(box, (box[0] != 0).to(torch.int16), one.matrix, patch)
        outside = (body == 0) & (label == 0)
        assert 0.1 < outside.float().mean() < 0.98
        assert [(channel[outside] == 0).all().item() for channel in sample] == list(masked)
        assert (sample[:, body == 1] != 0).float().mean() > 0.99


def test_a_box_that_leaves_the_case_is_zero_there(cache):
    reader = PatchReader([cache], (24, 12, 40))
    raw = reader.__getitems__([PatchRequest(0, "a", 3, False, None, 0, 0)])
    assert (raw.images[0].shape, raw.images[0].dtype, raw.labels[0].dtype) == (
        (1, 20, 12, 27),
        torch.float16,
        torch.int8,
    )
    ((image, label),) = raw.boxes()
    assert image.dtype == torch.float32
    assert label.dtype == torch.int16
    inside = torch.zeros(24, 12, 40, dtype=torch.bool)
    inside[2:22, :, 6:33] = True
    assert image[0][~inside].abs().max() == 0
    assert label[~inside].max() == 0
    assert (image[0][inside] != 0).float().mean() > 0.99


def test_a_batch_leaves_its_reader_in_one_block():
    """A handle per tensor would reach the limit of open files with a dozen readers."""
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.normal(size=(m, 3, n, 5)).astype(np.float16)) for m, n in [(1, 7), (2, 3), (1, 0)]]
    labels = [
        torch.from_numpy(rng.integers(-2, 9, (3, n, 5)).astype(kind)) for n, kind in [(7, "i1"), (3, "i2"), (0, "i1")]
    ]
    paddings = [None, Padding((4, 5, 6), (0, 1, 1), -2), None]
    raw = RawBatch(images, labels, ["a", "b", "c"], paddings)
    there = ForkingPickler.loads(ForkingPickler.dumps(raw))
    assert len({tensor.untyped_storage().data_ptr() for tensor in (*there.images, *there.labels)}) == 1
    assert (there.requests, there.paddings) == (raw.requests, raw.paddings)
    for one, other in zip((*images, *labels), (*there.images, *there.labels), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one, other)
