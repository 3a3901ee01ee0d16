"""Forward pass, loss and backward pass make the processor wait for no GPU."""

import sys

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from networks import MODALITIES, PATCH, SMALL, TASKS, factory
from samples import make_task
from uniseg.device_copy import to_device
from uniseg.losses.deep_supervision import DeepSupervision
from uniseg.losses.dice_ce import DiceCELoss
from uniseg.task import TaskSet

aten = torch.ops.aten
CARD = "meta"  # stands for a GPU: a device without values, on which nothing can be read
NESTED = make_task("nested", classes=("background", "whole", "core"), regions=((1, 2), (2,)))
MIXED = TaskSet([*TASKS, NESTED])
READING = {aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.nonzero, aten.masked_select, aten.equal}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class Waits(TorchDispatchMode):
    """Notes what makes a processor wait for a GPU: values read, copies that ``to_device`` does not make, indices that
    are not there yet or whose number of hits is not known.
    """

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs, packet = kwargs or {}, function.overloadpacket
        devices = {arg.device.type for arg in args if isinstance(arg, torch.Tensor)}
        if packet in READING and CARD in devices:
            self.found.append(str(packet))
        elif packet in (aten._to_copy, aten.copy_):
            target = torch.device(kwargs.get("device") or args[0].device).type
            if len(devices | {target}) > 1 and not _called_by(to_device):
                self.found.append(f"{devices} -> {target}")
        elif packet in INDEXING and CARD in devices:
            indices = [index for index in args[1] if index is not None]
            if any(index.device.type != CARD or index.dtype in (torch.bool, torch.uint8) for index in indices):
                self.found.append(str(packet))
        return function(*args, **kwargs)


class MadeThere(TorchFunctionMode):
    """Notes what is copied to a GPU without an operator: lists as indices, ``torch.tensor(..., device=)``."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and args[0].device.type == CARD:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, (list, np.ndarray)) for part in index):
                self.found.append("list as index")
        elif function in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu").type == CARD:
            self.found.append(str(function))
        return function(*args, **kwargs)


def _called_by(function):
    frame = sys._getframe()
    while frame and frame.f_code is not function.__code__:
        frame = frame.f_back
    return frame is not None


def step(model, order):
    """Forward, loss, backward of a batch on the card; the tasks are known here."""
    task = torch.tensor(order)
    image = torch.empty(len(order), len(MODALITIES), *PATCH, device=CARD)
    label = torch.empty(len(order), *PATCH, device=CARD, dtype=torch.int16)
    loss = DeepSupervision(DiceCELoss(dice_weight=1, ce_weight=1))
    with MadeThere() as made, Waits() as waits:
        losses = loss(model(image, task), label, [model.tasks[t] for t in order])
        losses.mean().backward()
    assert losses.device.type == CARD
    assert losses.shape == (len(order),)
    return made.found + waits.found


def test_waits_are_seen():
    x = torch.empty(3, 2, device=CARD)
    with MadeThere() as made, Waits() as waits:
        torch.ones(2).to(CARD)
        x[torch.tensor([0, 1])]
        assert len(waits.found) == 2
        x[[0, 1]]
        torch.tensor([1.5], device=CARD)
        assert len(made.found) == 2
        to_device([1.5], CARD)
        assert len(waits.found + made.found) == 4
        for read in (lambda: x.sum().item(), lambda: x[x > 0], lambda: x.cpu(), lambda: x.tolist()):
            with pytest.raises((RuntimeError, NotImplementedError)):
                read()
    assert len(waits.found) > 4


@pytest.mark.parametrize("head", ["static", "dynamic", "per_task"])
@pytest.mark.parametrize("order", [[0], [0, 1], [3, 0, 2, 1], [0, 4, 1, 4], [4, 4]], ids=str)
def test_a_step_waits_for_nothing(order, head):
    conditioning = "one_hot" if head == "dynamic" else "fuse_prompt"
    choices = (f"model/head={head}", f"model/conditioning={conditioning}")
    model = factory(*choices)(MIXED, patch_size=PATCH, encoder=SMALL).to(CARD)
    assert step(model, order) == []
    assert step(model.to(memory_format=torch.channels_last_3d), order) == []


def test_a_step_of_added_tasks_waits_for_nothing():
    model = factory()(TASKS, patch_size=PATCH, encoder=SMALL)
    model.extend([NESTED], adapter_channels=2)
    assert step(model.to(CARD), [4, 0, 4, 3]) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("fused", [False, True])
def test_ten_steps_on_the_card_synchronise_never(fused):
    model = factory()(MIXED, patch_size=PATCH, encoder=SMALL).cuda().to(memory_format=torch.channels_last_3d)
    model.set_fused_norm(fused)
    loss, parameters = DeepSupervision(DiceCELoss(dice_weight=1, ce_weight=1)), list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    image = torch.randn(4, len(MODALITIES), *PATCH, device="cuda")
    label = torch.randint(2, (4, *PATCH), device="cuda", dtype=torch.int16)
    try:
        for number, order in enumerate([[0, 4, 1, 4], [3, 0, 2, 1]] * 6):
            torch.cuda.set_sync_debug_mode("error" if number > 1 else "default")  # kernels are compiled at first
            with torch.autocast("cuda", torch.float16):
                logits = model(image, torch.tensor(order))
                loss(logits, label, [MIXED[t] for t in order]).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    finally:
        torch.cuda.set_sync_debug_mode("default")
