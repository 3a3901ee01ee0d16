"""A step replayed from graphs is the step that was recorded: outputs, gradients, whatever changes in between."""

import gc
import weakref
from contextlib import contextmanager
from copy import deepcopy

import pytest
import torch

from uniseg.models import graphs
from uniseg.training.modules import UpstreamModule


class Replayed:
    """Stands for a CUDA graph on a processor: does again what was recorded, into the same memory."""

    def __init__(self, function):
        self.function, self.kept = function, function()

    def replay(self):
        with torch.enable_grad():
            result = self.function()
        for kept, new in zip(self.kept, result, strict=True):
            if kept is not None:
                kept.data.copy_(new.detach())  # as a graph, unnoticed by autograd


@pytest.fixture
def recorded(monkeypatch):
    """The number of recordings, on a processor."""
    numbers = []

    def record(function, pool):
        numbers.append(1)
        graph = Replayed(function)
        return graph, graph.kept

    def warm_up(run, surface):
        return [torch.zeros_like(y) if y.requires_grad else None for y in run()]

    monkeypatch.setattr(graphs, "_record", record)
    monkeypatch.setattr(graphs, "_warm_up", warm_up)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr("uniseg.models.uniseg.UniSegModel._fits_a_graph", lambda model, image, task: model.training)
    return numbers


def step(model, optimizer, seed, task, *, backward_passes=1):
    """Loss and logits of one step of training."""
    generator = torch.Generator().manual_seed(seed)
    optimizer.zero_grad()
    for _ in range(backward_passes):
        image = torch.randn(2, 1, 8, 16, 16, generator=generator)
        logits = model(image, torch.tensor(task))
        loss = sum(x[:, :2].square().mean() for x in logits[:-1])  # the coarsest scale has no weight in training
        loss.backward()
    optimizer.step()
    return loss.detach(), [x.detach().clone() for x in logits]


def assert_same(model, plain, *, lr=0.1, backward_passes=1):
    ours, theirs = (torch.optim.SGD(each.parameters(), lr=lr, momentum=0.9) for each in (model, plain))
    for seed, task in enumerate([[0, 1], [1, 1], [1, 0]]):
        loss, logits = step(model, ours, seed, task, backward_passes=backward_passes)
        plain_loss, plain_logits = step(plain, theirs, seed, task, backward_passes=backward_passes)
        torch.testing.assert_close(logits, plain_logits)
        torch.testing.assert_close(loss, plain_loss)
    for (name, parameter), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, msg=name)


@pytest.mark.parametrize("backward_passes", [1, 3])
def test_training_goes_as_without_graphs(model, recorded, backward_passes):
    plain = deepcopy(model.double())
    torch.set_default_dtype(torch.float64)
    try:
        model.set_graphed(True)
        assert_same(model, plain, backward_passes=backward_passes)
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(recorded) == 2  # forward and backward, once for all tasks


def test_what_trains_is_recorded_anew(model, recorded):
    model.set_graphed(True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.encoder.requires_grad_(False)
    model.stem.requires_grad_(False)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step(model, optimizer, 0, [0, 1])
    assert all(p.grad is None for p in [*model.encoder.parameters(), *model.stem.parameters()])
    model.requires_grad_(True)
    step(model, optimizer, 1, [0, 1])
    assert len(recorded) == 4
    assert all(p.grad is not None for p in model.encoder.parameters())
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters() if "encoder" in name)


@pytest.mark.parametrize("kind", ["parameter", "buffer"])
def test_memory_that_moves_is_recorded_anew(model, recorded, kind):
    """Of what is frozen too: a graph would read where it was."""
    model.encoder.requires_grad_(False)
    model.set_graphed(True)
    moved = next(model.encoder.parameters())
    if kind == "buffer":
        model.encoder.register_buffer("table", torch.ones(2))
        moved = model.encoder.table
    image, task = torch.randn(2, 1, 8, 16, 16), torch.tensor([0, 1])
    model(image, task)
    moved.data = moved.data + 1
    model(image, task)
    assert len(recorded) == 4


def test_layouts_of_the_input_share_a_recording(model, recorded):
    """A stem may hand on channels last for one batch and channels first for the next."""
    parts = (model.encoder, model.conditioning, model.decoder)
    cache = graphs.GraphCache(parts)
    features = torch.randn(2, model.encoder.channels[0], 8, 16, 16)
    task = torch.tensor([0, 1])
    results = [
        cache(model._trunk, x, task)[0].clone() for x in (features, features.to(memory_format=torch.channels_last_3d))
    ]
    torch.testing.assert_close(*results)
    assert len(recorded) == 2


def test_a_failed_recording_leaves_stream_and_allocator_as_they_were(monkeypatch):
    """Torch's own end of a recording raises before it restores either."""
    calls = []

    @contextmanager
    def noted(name):
        try:
            yield
        finally:
            calls.append(name)

    @contextmanager
    def failing(graph, **settings):
        yield
        raise RuntimeError("operation failed due to a previous error during capture")

    for name, stub in (("CUDAGraph", object), ("graph", failing), ("stream", noted), ("current_device", lambda: 0)):
        monkeypatch.setattr(torch.cuda, name, stub)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "stream")
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        monkeypatch.setattr(torch._C, name, lambda *pool, name=name: calls.append((name, *pool)), raising=False)
    with pytest.raises(RuntimeError, match="during capture"):
        graphs._record(lambda: (), (0, 7))
    assert calls == ["stream", ("_cuda_endAllocateToPool", 0, (0, 7)), ("_cuda_releasePool", 0, (0, 7))]


def test_the_end_of_a_training_gives_the_memory_back(model, recorded):
    model.set_graphed(True)
    model(torch.randn(2, 1, 8, 16, 16), torch.tensor([0, 1]))
    graphed = weakref.ref(model.graphs._graphed)
    UpstreamModule(model, tasks=model.tasks).on_fit_end()
    gc.collect()
    assert graphed() is None


def test_a_graph_of_one_forward_pass_serves_its_own_backward_pass_alone(model, recorded):
    model.set_graphed(True)
    image, task = torch.randn(2, 1, 8, 16, 16), torch.tensor([0, 1])
    first = model(image, task)[0].square().mean()
    model(image, task)
    with pytest.raises(RuntimeError, match="after another forward pass"):
        first.backward()


def test_what_cannot_be_recorded_trains_without_graphs(model, recorded, monkeypatch, caplog):
    def fail(function, pool):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(graphs, "_record", fail)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    plain = deepcopy(model)
    model.set_graphed(True)
    ours, theirs = (torch.optim.SGD(each.parameters(), lr=0.1) for each in (model, plain))
    for seed in range(3):
        torch.testing.assert_close(step(model, ours, seed, [0, 1]), step(plain, theirs, seed, [0, 1]))
    assert [record.getMessage() for record in caplog.records] == [
        "no CUDA graph of this network (operation not permitted when stream is capturing): its launches are made anew "
        "in every step"
    ]


def test_a_copy_has_no_graphs(model, recorded):
    model.set_graphed(True)
    model(torch.randn(2, 1, 8, 16, 16), torch.tensor([0, 1]))
    assert deepcopy(model).graphs is None


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("backward_passes", [1, 2])
def test_training_goes_as_without_graphs_on_a_gpu(model, backward_passes):
    model.cuda()
    plain = deepcopy(model)
    model.set_graphed(True)
    image, task = torch.randn(2, 1, 8, 16, 16, device="cuda"), torch.tensor([0, 1])
    ours, theirs = (torch.optim.SGD(each.parameters(), lr=0.01, momentum=0.9) for each in (model, plain))
    for _ in range(3):
        losses = []
        for each, optimizer in ((model, ours), (plain, theirs)):
            optimizer.zero_grad()
            for _ in range(backward_passes):
                loss = sum(x[:, :2].square().mean() for x in each(image, task)[:-1])
                loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-4)


@gpu
@pytest.mark.gpu
def test_a_failed_recording_leaves_nothing_behind_on_a_gpu():
    stream, other = torch.cuda.current_stream(), torch.cuda.Stream()
    layer, x = torch.nn.Linear(4, 2).cuda(), torch.ones(3, 4, device="cuda")
    function = lambda x: (layer(x) * x.sum().item(),)  # noqa: E731
    cache = graphs.GraphCache([layer])
    torch.testing.assert_close(cache(function, x), function(x))
    assert torch.cuda.current_stream() == stream
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        tensor = torch.ones(2**20, device="cuda")
        tensor.record_stream(other)
        del tensor
    torch.cuda.synchronize()
    torch.ones(1, device="cuda")
    assert torch.cuda.memory_allocated() - before < 2**20
