"""The loss against numbers worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from samples import make_task
from uniseg.losses.deep_supervision import DeepSupervision, scale_weights, shrink
from uniseg.losses.dice_ce import DiceCELoss

INF = float("inf")
TWO = ("background", "liver")
THREE = [make_task()]
NESTED = make_task("tumour", classes=("background", "whole", "core"), regions=((1, 2), (2,)))


def two_voxels(*logits_per_class):
    """[1,K,1,1,2] from one pair of numbers per class."""
    return torch.tensor(logits_per_class, dtype=torch.float32)[None, :, None, None]


def label(*values):
    return torch.tensor(values, dtype=torch.int16).view(1, 1, 1, -1)


def test_value_by_hand():
    p = 0.8
    logits = two_voxels([math.log(p), math.log(1 - p)], [math.log(1 - p), math.log(p)])
    loss = DiceCELoss(dice_weight=1, ce_weight=1)(logits, label(0, 1), [make_task(classes=TWO)])
    dice = 2 * p / (1 + 1)  # foreground: overlap 0.8, sum of probabilities 0.2 + 0.8, one voxel of truth
    assert loss.item() == pytest.approx(1 - dice - math.log(p), abs=1e-4)


def test_surplus_rows_change_nothing():
    narrow = torch.randn(2, 3, 2, 4, 4)
    wide = torch.cat([narrow, torch.full((2, 117, 2, 4, 4), -INF)], 1)
    target = torch.randint(0, 3, (2, 2, 4, 4))
    loss = DiceCELoss(dice_weight=1, ce_weight=1)
    torch.testing.assert_close(loss(narrow, target, THREE * 2), loss(wide, target, THREE * 2))


def test_surplus_rows_get_no_gradient_and_no_nan():
    logits = torch.randn(1, 4, 2, 4, 4, requires_grad=True)
    masked = logits.masked_fill(torch.tensor([False, False, True, True])[None, :, None, None, None], -INF)
    DiceCELoss(dice_weight=1, ce_weight=1)(
        masked, torch.randint(0, 2, (1, 2, 4, 4)), [make_task(classes=TWO)]
    ).mean().backward()
    assert logits.grad[:, 2:].abs().max() == 0
    assert logits.grad[:, :2].abs().min() > 0


def test_ignored_voxels_count_nowhere():
    logits = torch.randn(1, 2, 1, 1, 6)
    target = torch.tensor([0, 1, 1, 0, -1, -1]).view(1, 1, 1, 6)
    loss, tasks = DiceCELoss(dice_weight=1, ce_weight=1), [make_task(classes=TWO)]
    torch.testing.assert_close(loss(logits, target, tasks), loss(logits[..., :4], target[..., :4], tasks))


def test_samples_are_independent():
    logits, target = torch.randn(3, 3, 2, 4, 4), torch.randint(0, 3, (3, 2, 4, 4))
    loss = DiceCELoss(dice_weight=1, ce_weight=1)
    one_by_one = torch.cat([loss(logits[i : i + 1], target[i : i + 1], THREE) for i in range(3)])
    torch.testing.assert_close(loss(logits, target, THREE * 3), one_by_one)


def test_regions_by_hand():
    p, q = 0.7, 0.4
    logits = two_voxels([9, 9], [math.log(p / (1 - p))] * 2, [math.log(q / (1 - q))] * 2)
    loss = DiceCELoss(dice_weight=1, ce_weight=1)(logits, label(2, 1), [NESTED])
    whole, core = 2 * 2 * p / (2 * p + 2), 2 * q / (2 * q + 1)  # both voxels lie in the whole, the first in the core
    ce = (-math.log(p) - (math.log(q) + math.log(1 - q)) / 2) / 2
    assert loss.item() == pytest.approx(1 - (whole + core) / 2 + ce, abs=1e-4)


def test_regions_leave_out_ignored_voxels_and_surplus_rows():
    logits = torch.randn(1, 3, 1, 1, 6)
    wide = torch.cat([logits, torch.full((1, 4, 1, 1, 6), -INF)], 1).requires_grad_()
    target = torch.tensor([0, 1, 2, 2, -1, -1]).view(1, 1, 1, 6)
    loss = DiceCELoss(dice_weight=1, ce_weight=1)
    value = loss(wide, target, [NESTED])
    torch.testing.assert_close(value, loss(logits[..., :4], target[..., :4], [NESTED]))
    value.sum().backward()
    assert torch.isfinite(wide.grad).all()
    assert wide.grad[:, 3:].abs().max() == wide.grad[:, :1].abs().max() == 0


def test_exclusive_classes_mix_with_regions_in_one_batch():
    logits, target = torch.randn(3, 3, 2, 4, 4), torch.randint(0, 3, (3, 2, 4, 4))
    loss, tasks = DiceCELoss(dice_weight=1, ce_weight=1), [NESTED, *THREE, NESTED]
    one_by_one = torch.cat([loss(logits[i : i + 1], target[i : i + 1], tasks[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(loss(logits, target, tasks), one_by_one)
    assert one_by_one[1] != loss(logits[1:2], target[1:2], [NESTED])[0]


def test_published_weights_of_the_scales():
    assert scale_weights(5) == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15, 0])
    assert scale_weights(1) == [1]


def test_deep_supervision_weighs_the_scales():
    class FirstLabel(torch.nn.Module):
        def forward(self, logits, target, tasks):
            return target.float().mean((1, 2, 3)) + logits.shape[2]

    target = torch.zeros(1, 4, 4, 4, dtype=torch.int16)
    scales = [torch.zeros(1, 2, n, n, n) for n in (4, 2, 1)]
    assert DeepSupervision(FirstLabel())(scales, target, THREE).item() == pytest.approx(4 * 2 / 3 + 2 / 3)


def test_labels_shrink_by_nearest_neighbour():
    """The voxels that batchgeneratorsv2 0.3.6 takes (``DownsampleSegForDSTransform``, recorded): the middle of eight is
    8i + 4, not 8i.
    """
    target = torch.arange(4 * 16 * 24, dtype=torch.int16).view(1, 4, 16, 24)
    assert shrink(target, (4, 8, 12)).flatten()[:12].tolist() == list(range(25, 48, 2))
    assert shrink(target, (2, 4, 6)).flatten()[:12].tolist() == [
        434,
        438,
        442,
        446,
        450,
        454,
        530,
        534,
        538,
        542,
        546,
        550,
    ]
    assert shrink(target, (1, 2, 3)).flatten().tolist() == [868, 876, 884, 1060, 1068, 1076]
    assert shrink(target, (4, 16, 24)) is target
    assert shrink(-torch.ones_like(target), (1, 2, 3)).unique().tolist() == [-1]


@pytest.mark.parametrize("tasks", [THREE, [NESTED]])
def test_the_task_says_which_classes_count_not_a_logit(tasks):
    """One logit that is not finite makes the loss so, and the run stops; it must not strike its class off the list."""
    loss, logits, target = (
        DiceCELoss(dice_weight=1, ce_weight=1),
        torch.randn(1, 3, 2, 4, 4),
        torch.randint(0, 3, (1, 2, 4, 4)),
    )
    for value in (INF, math.nan):
        logits[0, 2, 0, 0, 0] = value
        assert not torch.isfinite(loss(logits, target, tasks)).any()


def test_a_class_that_is_ruled_out_at_one_voxel_still_counts():
    loss, logits, target = (
        DiceCELoss(dice_weight=1, ce_weight=1),
        torch.randn(1, 3, 2, 4, 4),
        torch.randint(0, 3, (1, 2, 4, 4)),
    )
    target[0, 0, 0, 0], logits[0, 2, 0, 0, 0] = 0, -INF
    torch.testing.assert_close(loss(logits, target, THREE), loss(logits.clamp_min(-1000), target, THREE))


@pytest.mark.parametrize("task", [make_task(classes=TWO), NESTED])
def test_a_patch_of_ignored_voxels_alone_teaches_nothing(task):
    logits = torch.randn(1, 3, 2, 4, 4, requires_grad=True)
    loss = DiceCELoss(dice_weight=1, ce_weight=1)(logits, -torch.ones(1, 2, 4, 4, dtype=torch.int16), [task])
    loss.sum().backward()
    assert loss.item() == pytest.approx(0, abs=2e-3)
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("task", [make_task(classes=TWO), make_task(classes=TWO, regions=((1,),))])
def test_sums_stay_in_float32_under_mixed_precision(dtype, task):
    """131,072 voxels of one class: a sum in bfloat16 would stop at 256, one in float16 at 2,048, beyond 65,504 at
    infinity.
    """
    logits = torch.randn(1, 2, 32, 64, 64).to(dtype)
    target = torch.ones(1, 32, 64, 64, dtype=torch.int16)
    with torch.autocast("cpu", dtype):
        mixed = DiceCELoss(dice_weight=1, ce_weight=1)(logits, target, [task])
    p = logits.double().sigmoid()[:, 1] if task.regions else logits.double().softmax(1)[:, 1]
    exact = 1 - 2 * p.sum() / (p.sum() + p.numel()) - p.log().mean()
    assert mixed.dtype == torch.float32
    assert mixed.item() == pytest.approx(exact.item(), rel=1e-5)


def test_labels_shrink_by_slices_as_by_nearest_exact():
    label = torch.randint(-1, 9, (2, 12, 30, 32), dtype=torch.int16)
    for size in [(12, 15, 16), (6, 10, 8), (4, 6, 32), (3, 3, 2), (1, 1, 1), (5, 7, 11)]:
        expected = F.interpolate(label[:, None].float(), size, mode="nearest-exact")[:, 0].to(torch.int16)
        assert torch.equal(shrink(label, size), expected)
