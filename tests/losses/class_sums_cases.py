"""The loss's kernels by Triton's interpreter; run by ``test_kernels.py`` in a process that switches it on."""

import math

import pytest
import torch

from samples import make_task
from uniseg.losses import class_sums, dice_ce
from uniseg.losses.dice_ce import DiceCELoss

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, which interprets infinities

TWO = make_task("two", classes=("background", "liver"))
THREE = make_task("three")
SIX = make_task("six", classes=tuple("abcdef"))
NESTED = make_task("tumour", classes=("background", "whole", "core"), regions=((1, 2), (2,)))
ONE_REGION = make_task("whole", classes=("background", "whole"), regions=((1,),))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Tiles so small that little volumes have several, and chunks of several."""
    monkeypatch.setattr(class_sums, "TILE", 128)
    monkeypatch.setattr(class_sums, "PROGRAMS", 4)
    monkeypatch.setattr(dice_ce, "can_fuse", lambda logits: True)


def both(logits, label, tasks):
    """Loss per sample and gradient of the logits, fused and not."""
    results, seed = [], torch.rand(len(tasks)) + 0.5
    for fused in (True, False):
        loss, leaf = DiceCELoss(dice_weight=1, ce_weight=0.7), logits.detach().clone().requires_grad_()
        loss.fused = fused
        values = loss(leaf, label, tasks)
        (values * seed).sum().backward()
        results.append((values.detach(), leaf.grad))
    return results


def volume(tasks, classes, *, layout=torch.contiguous_format, size=(3, 5, 7)):
    logits = torch.randn(len(tasks), classes, *size).mul(3).contiguous(memory_format=layout)
    label = torch.stack([torch.randint(-1, task.num_classes, size, dtype=torch.int16) for task in tasks])
    for sample, task in zip(logits, tasks, strict=True):
        sample[task.num_classes :] = -math.inf
    return logits, label


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d], ids=["first", "last"])
@pytest.mark.parametrize(
    "tasks", [[TWO], [THREE, TWO], [SIX, TWO, THREE], [NESTED, ONE_REGION], [NESTED, SIX]], ids=len
)
def test_it_is_torchs_expression(tasks, layout):
    logits, label = volume(tasks, max(task.num_classes for task in tasks), layout=layout)
    (fused, gradient), (plain, expected) = both(logits, label, tasks)
    torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-4)
    assert gradient.stride() == logits.stride()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("task", [THREE, NESTED])
def test_half_precision(dtype, task):
    logits, label = volume([task] * 2, 3)
    logits = logits.to(dtype)
    (fused, gradient), (plain, expected) = both(logits, label, [task] * 2)
    assert fused.dtype == torch.float32
    torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, expected, atol=torch.finfo(dtype).eps / 10, rtol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("task", [THREE, NESTED])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_logit_that_is_not_finite_shows(task, value):
    logits, label = volume([task], 3)
    logits[0, 2, 0, 0, 0], label[0, 0, 0, 0] = value, 1
    assert not any(torch.isfinite(values).any() for values, _ in both(logits, label, [task]))


def test_a_class_that_is_ruled_out_at_one_voxel():
    logits, label = volume([THREE], 3)
    logits[0, 2, 0, 0, 0], label[0, 0, 0, 0] = -math.inf, 0
    (fused, gradient), (plain, expected) = both(logits, label, [THREE])
    torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("task", [THREE, NESTED])
def test_ignored_voxels_alone(task):
    logits, label = volume([task], 3)
    (fused, gradient), (plain, _) = both(logits, torch.full_like(label, -1), [task])
    torch.testing.assert_close(fused, plain)
    assert gradient.abs().max() == 0
