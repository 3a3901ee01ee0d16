"""Soft Dice plus cross-entropy over each sample's own classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uniseg.device_copy import merge_rows, take_rows, to_device
from uniseg.losses.class_sums import can_fuse, class_sums
from uniseg.task import IGNORE, Task

SMOOTH = 1e-5
SMALLEST = 1e-8


class DiceCELoss(nn.Module):
    """Mean soft Dice loss of a sample's own foreground classes plus its mean cross-entropy, weights as given.

    Classes that exclude each other: softmax, cross-entropy over all of them. Regions: sigmoid, binary cross-entropy
    averaged over the regions (nnU-Net's ``DC_and_BCE_loss``). A batch may hold both kinds.

    Dice is per sample, not over the batch (nnU-Net's ``batch_dice=False``); classes that a sample's task does not have
    count nowhere. Voxels labelled -1 are left out.

    Attributes:
        fused: whether GPUs take the Triton kernels of ``class_sums.py``, where Triton is installed.

    Examples:
        >>> from uniseg.task import Normalization, Task
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (1, 1, 1), (Normalization("zscore", masked=False),))
        >>> label = torch.ones(1, 4, 4, 4, dtype=torch.int16)
        >>> DiceCELoss(dice_weight=1, ce_weight=1)(torch.zeros(1, 2, 4, 4, 4), label, [liver]).shape
        torch.Size([1])
    """

    fused: bool = True

    def __init__(self, *, dice_weight: float, ce_weight: float) -> None:
        super().__init__()
        self.dice_weight = dice_weight
        self.ce_weight = ce_weight

    def forward(self, logits: Tensor, label: Tensor, tasks: Sequence[Task]) -> Tensor:
        """``logits [B,K,Z,Y,X]`` (padding -inf), ``label [B,Z,Y,X]``, B tasks -> one loss per sample ``[B]``."""
        regional = [bool(task.regions) for task in tasks]
        if len(set(regional)) == 1:
            return self._loss(logits, label, tasks)
        kinds = [[b for b, is_regional in enumerate(regional) if is_regional == kind] for kind in (False, True)]
        parts = [
            self._loss(take_rows(logits, rows), take_rows(label, rows), [tasks[b] for b in rows]) for rows in kinds
        ]
        return merge_rows(parts, kinds)

    def _loss(self, logits: Tensor, label: Tensor, tasks: Sequence[Task]) -> Tensor:
        counts = torch.tensor([task.num_classes - 1 for task in tasks])
        has_class = (torch.arange(logits.shape[1] - 1) < counts[:, None]).float()
        has_class = to_device(has_class, logits.device)
        if self.fused and can_fuse(logits):
            overlap, predicted, truth, ce, voxels = class_sums(logits, label, tasks)
        else:
            overlap, predicted, truth, ce, voxels = _sums(logits, label, has_class, tasks)
        dice = (2 * overlap + SMOOTH) / (predicted + truth + SMOOTH + SMALLEST)
        mean_dice = (dice * has_class).sum(1) / has_class.sum(1)
        return self.dice_weight * (1 - mean_dice) + self.ce_weight * (ce / voxels.clamp_min(1))


def _sums(
    logits: Tensor, label: Tensor, has_class: Tensor, tasks: Sequence[Task]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What ``class_sums`` computes, by torch."""
    valid = label != IGNORE
    target = label.long().clamp_min(0)
    p, truth, ce = (_regions if tasks[0].regions else _exclusive)(logits.float(), target, has_class, tasks)
    ce = (ce * valid).flatten(1).sum(1)
    p, truth = p * valid[:, None], truth * valid[:, None]
    sums = [volume.flatten(2).sum(2) for volume in (p * truth, p, truth)]
    return *sums, ce, valid.flatten(1).sum(1)


def _exclusive(
    logits: Tensor, target: Tensor, has_class: Tensor, tasks: Sequence[Task]
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities and truth of the foreground ``[B,K-1,Z,Y,X]``, cross-entropy ``[B,Z,Y,X]``."""
    log_p = F.log_softmax(logits, dim=1)
    truth = torch.zeros_like(log_p).scatter_(1, target[:, None], 1)
    return log_p[:, 1:].exp(), truth[:, 1:], -log_p.gather(1, target[:, None])[:, 0]


def _regions(logits: Tensor, target: Tensor, has_class: Tensor, tasks: Sequence[Task]) -> tuple[Tensor, Tensor, Tensor]:
    """The same for regions; ``has_class [B,K-1]`` is 1 where the task of a sample has the class."""
    mask = has_class[:, :, None, None, None]
    logits = logits[:, 1:].masked_fill(mask == 0, 0)
    truth = torch.zeros_like(logits)
    for sample, task, values in zip(truth, tasks, target, strict=True):
        sample[: task.num_classes - 1] = to_device(task.membership, logits.device).T[:, values].to(logits.dtype)
    ce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return logits.sigmoid(), truth, (ce * mask).sum(1) / mask.sum(1)
