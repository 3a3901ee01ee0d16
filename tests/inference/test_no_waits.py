"""On a GPU nothing waits for a value before the last window: seen with tensors that have none."""

from contextlib import contextmanager, nullcontext

import pytest
import torch

from samples import make_task, small_model
from uniseg import InferenceSettings, TaskSet
from uniseg.inference.accumulators import WindowAccumulator
from uniseg.inference.compute import Compute
from uniseg.inference.restore import CropGeometry, OutputResampler
from uniseg.inference.window_network import BatchSizes, WindowNetwork
from uniseg.inference.window_pass import WindowPass

NOWHERE = torch.device("meta")  # whose tensors have shapes alone: to read a value is an error
TASKS = TaskSet([make_task("few"), make_task("many", classes=("background", *(f"c{k}" for k in range(9))))])


class Stopped:
    """A stopwatch without events."""

    @contextmanager
    def __call__(self, stage, device=None):
        yield


class Card(Compute):
    """As a GPU."""

    is_cuda = True

    def running(self):
        return nullcontext()


class Copied:
    """Takes what would be copied out of a GPU."""

    device = torch.device("cuda")

    def __init__(self):
        self.shapes = []

    def put(self, array, target, values):
        assert values.device == NOWHERE
        self.shapes.append((tuple(values.shape), values.dtype))


@pytest.mark.parametrize("sizes", [BatchSizes(2), BatchSizes(1, 2)])
def test_nothing_is_read_before_the_end(monkeypatch, sizes):
    reads = []
    monkeypatch.setattr(WindowNetwork, "require_finite", lambda self: reads.append("checksum"))
    monkeypatch.setattr(torch, "autocast", lambda *args, **how: nullcontext())
    writer = Copied()
    with torch.inference_mode():
        model = small_model(TASKS).to(NOWHERE)
        accumulators = [
            WindowAccumulator(task, t, (model.readout(t),), task.num_labels > 6, min(6, task.num_labels))
            for t, task in enumerate(TASKS)
        ]
        crop = CropGeometry(((0, 24), (0, 40), (0, 36)), (24, 40, 36), (1, 1, 1), (12, 40, 36), (2, 1, 1))
        resamplers = [OutputResampler(a.scores, a.task.num_labels, crop, writer=writer) for a in accumulators]
        network = WindowNetwork([model], accumulators, (), Card(NOWHERE), sizes, Stopped())
        windows = WindowPass(network, torch.zeros(1, 12, 40, 36, device=NOWHERE), InferenceSettings())
        for parts in windows.planes((0, 40)):
            assert not reads
            for resampler, planes in zip(resamplers, parts, strict=True):
                assert planes.average.dtype is torch.float32, "sums are float32 in every precision"
                resampler.add(planes)
    assert reads == ["checksum"]
    assert sum(shape[0] for shape, _ in writer.shapes) == 2 * 24, "every plane of both tasks"
    assert {dtype for _, dtype in writer.shapes} == {torch.uint8}


def test_a_value_that_is_read_would_be_an_error():
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(torch.zeros((), device=NOWHERE) > 0)
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.zeros(3, device=NOWHERE).cpu()
