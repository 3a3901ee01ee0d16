"""A wrapped MONAI loss against MONAI's own on one sample, and against numbers by hand."""

from functools import partial

import pytest
import torch
from monai.losses import AsymmetricUnifiedFocalLoss, DiceCELoss, DiceLoss, HausdorffDTLoss, TverskyLoss
from torch.nn import functional as F

from samples import make_task
from uniseg.losses import dice_ce
from uniseg.losses.monai_loss import MonaiLoss

THREE = make_task()
NESTED = make_task("tumour", classes=("background", "whole", "core"), regions=((1, 2), (2,)))


def sample():
    return torch.randn(1, 3, 4, 6, 6), torch.randint(0, 3, (1, 4, 6, 6))


@pytest.mark.parametrize("include_background", [False, True])
def test_exclusive_classes_are_those_of_monai(include_background):
    logits, label = sample()
    theirs = DiceLoss(softmax=True, to_onehot_y=True, include_background=include_background)(logits, label[:, None])
    ours = MonaiLoss(DiceLoss, include_background=include_background)(logits, label, [THREE])
    torch.testing.assert_close(ours, theirs[None])


def test_regions_by_hand():
    logits, label = sample()
    p = logits[0, 1:].sigmoid()
    truth = torch.stack([label[0] > 0, label[0] == 2])
    expected = []
    for q, t in zip(p, truth, strict=True):
        overlap, false_positive, false_negative = (q * t).sum(), (q * ~t).sum(), ((1 - q) * t).sum()
        expected.append(1 - overlap / (overlap + 0.3 * false_positive + 0.7 * false_negative))
    loss = MonaiLoss(partial(TverskyLoss, alpha=0.3, beta=0.7))
    ours = loss(logits, label, [NESTED])
    torch.testing.assert_close(ours, torch.stack(expected).mean()[None], atol=1e-5, rtol=0)


def test_regions_of_a_combined_loss_have_binary_cross_entropy():
    """MONAI's own takes the softmax of several channels, even with a sigmoid for its Dice."""
    logits, label = sample()
    ours = MonaiLoss(DiceCELoss)(logits, label, [NESTED])
    theirs = dice_ce.DiceCELoss(dice_weight=1, ce_weight=1)(logits, label, [NESTED])
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_a_loss_of_probabilities_gets_them():
    logits, label = sample()
    p, target = logits.softmax(1), F.one_hot(label, 3).movedim(-1, 1).float()
    theirs = AsymmetricUnifiedFocalLoss(num_classes=3, to_onehot_y=False)(p, target)
    loss = MonaiLoss(partial(AsymmetricUnifiedFocalLoss, num_classes=3, to_onehot_y=False))
    torch.testing.assert_close(loss(logits, label, [THREE]), theirs[None])


def test_a_loss_of_distances_sees_the_volume():
    logits, label = sample()
    assert torch.isfinite(MonaiLoss(HausdorffDTLoss)(logits, label, [THREE])).all()
