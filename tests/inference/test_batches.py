"""How much is computed at a time changes nothing: windows, tasks of a window, less where a GPU's memory is short."""

import logging
from functools import partial

import numpy as np
import pytest
import torch

from samples import make_task, small_model
from uniseg import InferenceSettings, InputError, Predictor, TaskSet
from uniseg.images.volume import Volume
from uniseg.inference.accumulators import make_accumulator
from uniseg.inference.card import slab_voxels, window_batch
from uniseg.inference.compute import Compute
from uniseg.inference.memory import GB, CardEstimate, MemoryEstimate, plan_card, require_memory
from uniseg.inference.restore import CropGeometry, OutputOptions, OutputResampler
from uniseg.inference.window_network import BatchSizes, WindowNetwork
from uniseg.inference.window_pass import Planes, WindowPass
from uniseg.models.conditioning.one_hot import OneHot
from uniseg.models.encoded import Encoded
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.dynamic import DynamicHead
from uniseg.models.uniseg import UniSegModel

CPU = Compute(torch.device("cpu"))
TASKS = TaskSet(
    [
        make_task("few"),
        make_task("many", classes=("background", *(f"c{k}" for k in range(14)))),
        make_task("regions", classes=("background", "whole", "core"), regions=((1, 2), (2,))),
    ]
)


def make_model(kind):
    if kind == "dynamic":
        torch.manual_seed(0)
        encoder = partial(UNetEncoder, channels=[6, 8], strides=[[1, 2, 2]], kernels=[[1, 3, 3], [3, 3, 3]])
        how = {"encoder": encoder, "conditioning": OneHot, "head": partial(DynamicHead, width=4)}
        return UniSegModel(TASKS, patch_size=(8, 16, 16), **how).eval()
    model = small_model(TASKS)
    if kind == "added":
        model.extend([make_task("new")], adapter_channels=2)
    return model.eval()


def averages(model, image, sizes, **settings):
    """``[channels,z,y,x]`` per task, with the network that gave them."""
    settings = InferenceSettings(**{"mirror_axes": ()} | settings)
    accumulators = [make_accumulator([model], t, features_allowed=not settings.gate) for t in range(len(model.tasks))]
    network = WindowNetwork([model], accumulators, settings.mirror_axes, CPU, sizes)
    parts = list(WindowPass(network, image, settings).planes((0, image.shape[2])))
    return [torch.cat([planes[t].average for planes in parts], 1) for t in range(len(accumulators))], network


@pytest.mark.parametrize("kind", ["base", "added", "dynamic"])
@pytest.mark.parametrize("settings", [{}, {"mirror_axes": (1,)}, {"gate": True}])
@torch.inference_mode()
def test_tasks_decoded_together_are_those_decoded_apart(kind, settings):
    model, image = make_model(kind), torch.randn(1, 12, 32, 32)
    apart, _ = averages(model, image, BatchSizes(2), **settings)
    for sizes in (BatchSizes(1, 3), BatchSizes(2, 8), BatchSizes(1, 2)):
        together, _ = averages(model, image, sizes, **settings)
        for a, b in zip(apart, together, strict=True):
            torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_tasks_of_a_window_are_one_batch_whose_shared_terms_are_not_copied(monkeypatch):
    model, image, seen = make_model("base"), torch.randn(1, 8, 16, 16), []
    whole = UniSegModel.finest_of_tasks

    def finest_of_tasks(self, encoded, task):
        seen.append((task.tolist(), len(encoded.bottleneck), [len(term) for term in encoded.skip_terms]))
        return whole(self, encoded, task)

    monkeypatch.setattr(UniSegModel, "finest_of_tasks", finest_of_tasks)
    monkeypatch.setattr(Encoded, "rows", None)
    averages(model, image, BatchSizes(1, 3))
    assert seen == [([0, 1, 2], 1, [1, 1])]
    averages(model, image, BatchSizes(1, 2))
    assert [tasks for tasks, *_ in seen[1:]] == [[0], [1, 2]]


def short_of_memory(model, most, monkeypatch):
    """``model`` as on a GPU that holds ``most`` windows."""
    encode, sizes = model.encode, []

    def limited(batch, task):
        sizes.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total of")
        return encode(batch, task)

    monkeypatch.setattr(model, "encode", limited)
    return sizes


@torch.inference_mode()
def test_where_memory_is_short_less_is_computed_at_a_time(monkeypatch, caplog):
    model, image = make_model("base"), torch.randn(1, 12, 40, 40)
    plenty, _ = averages(model, image, BatchSizes(8, 3))
    sizes = short_of_memory(model, 2, monkeypatch)
    with caplog.at_level(logging.WARNING):
        short, network = averages(model, image, BatchSizes(8, 3))
    for a, b in zip(plenty, short, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)
    assert sizes[:3] == [8, 4, 2]
    assert max(sizes[2:]) == 2, "it is not tried again"
    assert network.sizes == BatchSizes(2, 1, limit=(2, 1))
    assert [record.message for record in caplog.records] == [
        "the GPU's memory is short: less is computed at a time from now on"
    ]


@torch.inference_mode()
def test_a_gpu_that_holds_no_window_is_said_in_one_line(monkeypatch):
    model = make_model("base")
    short_of_memory(model, 0, monkeypatch)
    with pytest.raises(InputError, match=r"inference\.device: found CUDA out of memory\. Tried .* GiB\.; expected"):
        averages(model, torch.randn(1, 8, 16, 16), BatchSizes(4, 3))


def test_a_later_scan_starts_with_what_was_learnt(monkeypatch):
    model = make_model("base")
    scan = Volume.of_array(np.random.default_rng(0).normal(0, 100, (8, 40, 40)), (2, 1, 1))
    predictor = Predictor(model, InferenceSettings(window_batch=8, device="cpu"))
    sizes = short_of_memory(model, 2, monkeypatch)
    predictor.predict(scan, ["few"])
    number = len(sizes)
    predictor.predict(scan, ["few"])
    assert max(sizes[number:]) == 2


def test_windows_at_a_time():
    cuda, window = Compute(torch.device("cuda"), "16"), (64, 192, 192)
    assert window_batch(InferenceSettings(), CPU, window) == 2
    assert window_batch(InferenceSettings(window_batch=5), cuda, window) == 5
    assert [window_batch(InferenceSettings(), cuda, (n, n, n)) for n in (32, 96, 128, 256)] == [16, 8, 4, 1]


def test_work_is_planned_within_the_gpus_memory():
    sizes = {"image": 10**8, "weights": 10**7, "window": 10**8, "scores": 10**7, "ring_row": 10**6, "slab": 10**7}
    estimate = CardEstimate(**sizes, value_bytes=2)
    assert estimate.fixed_bytes(2, 7) - estimate.fixed_bytes(2, 2) == 5 * 7 * 10**8 * 2
    most = (4, 7)
    rich, fair, poor = (plan_card(estimate, 100, 0.5, most, gb * GB) for gb in (80, 8, 3.3))
    assert (rich.window_batch, rich.tasks_at_once, rich.blocks) == (4, 7, ((0, 100),))
    assert (fair.window_batch, fair.tasks_at_once, fair.blocks) == (1, 4, ((0, 100),))
    assert (poor.window_batch, poor.tasks_at_once) == (1, 1)
    assert len(poor.blocks) > 1
    for plan, gb in ((rich, 80), (fair, 8), (poor, 3.3)):
        rows = max(high - low for low, high in plan.blocks) * 0.5
        taken = estimate.fixed_bytes(plan.window_batch, plan.tasks_at_once) + 2 * 4 * sizes["ring_row"] * rows
        assert taken <= gb * GB
    assert plan_card(estimate, 100, 0.5, most, 1e6).blocks[0] == (0, 1), "the least that there is, which is then tried"
    assert [slab_voxels(gb * GB) for gb in (0.1, 4, 80)] == [2**23, 20833333, 2**26]


def test_what_a_gpu_leaves_in_ram_is_within_the_memory():
    estimate = MemoryEstimate(10**9, 10**9, 10**8, 0, 10**7, 0, 0, 0)
    require_memory(estimate, None)
    require_memory(estimate, 10)
    with pytest.raises(InputError, match=r"inference\.max_memory_gb: found 7; expected at least 7\.3 for this scan"):
        require_memory(estimate, 7)


@pytest.mark.parametrize("options", [OutputOptions(), OutputOptions(confidence=True)])
@pytest.mark.parametrize("slab_voxels", [2**23, 500])
def test_all_of_a_slab_restored_is_what_its_foreground_alone_is(options, slab_voxels):
    """A GPU does not look where the foreground is."""
    torch.manual_seed(3)
    scores = torch.nn.functional.interpolate(torch.randn(1, 3, 3, 4, 4), (12, 16, 20), mode="trilinear")[0]
    crop = CropGeometry(((1, 19), (0, 24), (2, 32)), (20, 24, 33), (2, 1, 1), (12, 16, 20), (3, 1.5, 1.5))
    found = []
    for everywhere in (False, True):
        resampler = OutputResampler(lambda average: average, 3, crop, options, slab_voxels=slab_voxels)
        resampler.everywhere = everywhere
        resampler.start_block((0, 24))
        for start in range(0, 12, 5):
            resampler.add(Planes(start, scores[:, start : start + 5], None))
        found.append(resampler.segmentation)
    assert 0 < (found[0].label[:] > 0).mean() < 0.9
    np.testing.assert_array_equal(found[0].label[:], found[1].label[:])
    if options.confidence:
        np.testing.assert_array_equal(found[0].confidence[:], found[1].confidence[:])
