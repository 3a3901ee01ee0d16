"""A step replayed from graphs is the step that was recorded: outputs, gradients, whatever changes in between."""

from copy import deepcopy

import pytest
import torch

from uniseg.models import graphs


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
