"""Nothing in the making of a batch on a GPU waits for the GPU; where there is one, the stream as a whole is watched."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from samples import make_task
from uniseg.cache.store import CaseEntry, write_case, write_task
from uniseg.datasets.splits import SplitTable
from uniseg.sampling.augment.affine import Affine, AffineDraw
from uniseg.sampling.augment.bias_field import BiasField
from uniseg.sampling.augment.gin import Gin
from uniseg.sampling.augment.mirror import Mirror
from uniseg.sampling.augment.recipe import AugmentDraw, AugmentRecipe
from uniseg.sampling.augment.spatial import box_margin
from uniseg.sampling.batch import Padding, RawBatch
from uniseg.sampling.datamodule import UniSegDataModule
from uniseg.sampling.patches import OUTSIDE, make_batch
from uniseg.sampling.requests import PatchRequest
from uniseg.sampling.settings import StreamSettings

PATCH, CUDA = (8, 12, 10), torch.device("cuda", 0)
META = torch.device("meta")  # stands for a GPU: tensors with a shape, without values
ALWAYS = AugmentRecipe(
    {"bias": BiasField(p=1), "gin": Gin(p=1)},
    p_rotation=1, p_scale=1, p_noise=1, p_blur=1, p_blur_channel=1, p_brightness=1,
    p_contrast=1, p_low_resolution=1, p_low_resolution_channel=1, p_gamma_inverted=1, p_gamma=1, p_channel_dropout=1,
)  # fmt: skip
MATRICES = [
    None,
    Mirror().matrix((True, False, True)),
    Affine().matrix(AffineDraw(scale=1.2)),
    Affine().matrix(AffineDraw((0.1, 0.2, 0.3), 0.8)),
]
aten = torch.ops.aten
READ = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.is_nonzero}
INDEXED = {aten.index, aten.index_put, aten.index_put_}


class Waits(TorchDispatchMode):
    """Refuses what waits for a GPU: values that are read, indices and copies from ordinary memory."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        kind, on_gpu = func.overloadpacket, args and isinstance(args[0], torch.Tensor) and args[0].device == META
        assert not (on_gpu and kind in READ | INDEXED), f"{func} reads a value, or indexes by a list, a mask, an array"
        if kind in (aten._to_copy, aten.copy_):
            devices = {t.device.type for t in args[:2] if isinstance(t, torch.Tensor)}
            devices |= {torch.device(kwargs["device"]).type} if kwargs.get("device") else set()
            assert len(devices) == 1, f"{func} from ordinary memory"
        return func(*args, **kwargs)


@pytest.fixture
def on_gpu(monkeypatch):
    """What is brought there by pinned memory is let through."""

    def to_device(values, device, dtype=None):
        tensor = torch.as_tensor(values, dtype=dtype)
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=device)

    for module in ("base", "gin", "spatial"):
        monkeypatch.setattr(f"uniseg.sampling.augment.{module}.to_device", to_device)
    generator = SimpleNamespace(manual_seed=lambda seed: None)
    monkeypatch.setattr("uniseg.sampling.augment.noise.torch.Generator", lambda device: generator)
    with Waits():
        yield


def raw_batch(recipe):
    rng, draws = np.random.default_rng(0), []
    for matrix in MATRICES:
        values = recipe.draw(rng, (False, True), (True, False)).values
        draws.append(AugmentDraw(values, None if matrix is None else tuple(map(tuple, matrix.tolist())), (True, False)))
    boxes = [tuple(np.add(PATCH, 2 * np.array(box_margin(draw.matrix, PATCH))).tolist()) for draw in draws]
    paddings = [None, None, None, Padding(boxes[3], (1, 2, 3), OUTSIDE)]
    insides = [*boxes[:3], tuple(np.subtract(boxes[3], 4).tolist())]
    return RawBatch(
        [torch.zeros(2, *size, dtype=torch.float16, device=META) for size in insides],
        [torch.zeros(size, dtype=torch.int8, device=META) for size in insides],
        [PatchRequest(0, "a", n, False, draw, 0, n) for n, draw in enumerate(draws)],
        paddings,
    )


@pytest.mark.usefixtures("on_gpu")
def test_a_batch_is_made_without_waiting():
    batch = make_batch(raw_batch(ALWAYS), PATCH, ALWAYS)
    assert batch.image.shape == (4, 2, *PATCH)
    assert batch.label.shape == (4, *PATCH)
    assert (batch.image.device, batch.label.device, batch.label.dtype) == (META, META, torch.int16)


@pytest.mark.usefixtures("on_gpu")
@pytest.mark.parametrize(
    "wait",
    [
        lambda image: float(image.sum()),
        lambda image: image[image > 0],
        lambda image: image[[0]],
        lambda image: image.__setitem__([0], 0),
        lambda image: image.__setitem__(slice(None), torch.ones(3)),
        lambda image: torch.ones(3).to(image.device),
    ],
)
def test_what_waits_is_noticed(wait):
    with pytest.raises(AssertionError):
        wait(torch.zeros(3, device=META))


@pytest.fixture
def data(tmp_path):
    """Enough for ten steps of every transform."""
    rng, task, shape = np.random.default_rng(0), make_task("liver", ("T1", "T2")), (20, 30, 27)
    entries = [CaseEntry(letter, f"set/{letter}", shape, "key") for letter in "ab"]
    for entry in entries:
        image = rng.normal(size=(2, *shape)).astype(np.float32)
        write_case(tmp_path / "liver", entry, image, (image[0] > 1).astype(np.int16), task)
    splits = SplitTable((), (("a",),), ("b",), {letter: f"set/{letter}" for letter in "ab"})
    write_task(tmp_path / "liver", task, entries, splits)
    settings = StreamSettings(patch_size=PATCH, batch_size=2, steps_per_epoch=10, val_steps=4, num_workers=2)
    recipe = AugmentRecipe(p_rotation=0.5, p_scale=0.5, p_noise=0.5, p_blur=0.5, p_low_resolution=0.5, p_gamma=0.5)
    return UniSegDataModule(["liver"], tmp_path, settings, recipe)


def epochs(data, *, prefetches):
    """Two epochs of training with a validation between, on the processor in the end."""
    batches, loaders = [], {split: data.batches(split, CUDA) for split in ("train", "val")}
    for split in ("train", "val", "train"):
        loaders[split].prefetches = prefetches
        for batch in loaders[split]:
            batches.append(batch)
            if split == "train":
                data.step_done(batch.step)
    for loader in loaders.values():
        loader.close()
    return batches


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


@gpu
@pytest.mark.gpu
def test_a_stream_on_the_gpu_does_not_wait(data):
    loader = data.batches("train", CUDA)
    total, batches = torch.zeros((), device=CUDA), iter(loader)
    total += next(batches).image.sum()  # what is set up once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            total += batch.image.sum() + batch.label.sum()
    finally:
        torch.cuda.set_sync_debug_mode("default")
        loader.close()
    assert torch.isfinite(total).item()


@gpu
@pytest.mark.gpu
def test_prefetched_batches_are_the_same_to_the_last_bit(data):
    start = data.state_dict()
    plain = epochs(data, prefetches=False)
    data.load_state_dict(start)
    prefetched = epochs(data, prefetches=True)
    assert [batch.step for batch in plain] == [*range(10), *range(4), *range(10, 20)]
    for one, other in zip(plain, prefetched, strict=True):
        assert one.step == other.step
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.label, other.label)
