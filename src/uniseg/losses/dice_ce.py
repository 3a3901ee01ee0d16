"""Soft Dice plus cross-entropy over each sample's own classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IGNORE = -1
SMOOTH = 1e-5
SMALLEST = 1e-8


class DiceCELoss(nn.Module):
    """Mean soft Dice loss of a sample's own foreground classes plus its mean cross-entropy, weights as given.

    Dice is per sample, not over the batch (nnU-Net's ``batch_dice=False``); classes that a sample's task does not have
    count nowhere. Voxels labelled -1 are left out.
    """

    def __init__(self, *, dice_weight: float, ce_weight: float) -> None:
        super().__init__()
        self.dice_weight = dice_weight
        self.ce_weight = ce_weight

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """``logits [B,K,Z,Y,X]`` (surplus rows -inf), ``label [B,Z,Y,X]`` -> one loss per sample ``[B]``."""
        own = torch.isfinite(logits[:, :, 0, 0, 0])
        valid = label != IGNORE
        target = label.long().clamp_min(0)
        log_p = F.log_softmax(logits.float(), dim=1)
        voxels = valid.flatten(1).sum(1).clamp_min(1)
        ce = -(log_p.gather(1, target[:, None])[:, 0] * valid).flatten(1).sum(1) / voxels
        p = log_p.exp() * valid[:, None]
        truth = torch.zeros_like(p).scatter_(1, target[:, None], valid[:, None].to(p.dtype))
        overlap = (p * truth).flatten(2).sum(2)
        total = p.flatten(2).sum(2) + truth.flatten(2).sum(2)
        dice = (2 * overlap + SMOOTH) / (total + SMOOTH + SMALLEST)
        foreground = own[:, 1:].to(dice.dtype)
        mean_dice = (dice[:, 1:] * foreground).sum(1) / foreground.sum(1)
        return self.dice_weight * (1 - mean_dice) + self.ce_weight * ce
