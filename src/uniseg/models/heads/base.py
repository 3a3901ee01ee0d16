"""The contract of a head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from uniseg.device_copy import to_device
from uniseg.models.conditioning.base import ConditioningOutput
from uniseg.task import Task


class Head(nn.Module):
    """Turns the pyramid into class logits.

    Every head is built with ``channels`` (of the pyramid, finest first), ``tasks`` (a TaskSet) and ``control_channels``
    (C' + D of ``ConditioningOutput``), beside its own settings.

    Attributes:
        knows_task: whether it tells tasks apart by itself.
        reads_task_code: whether the task code changes what it computes.

    Examples:
        >>> Head().readout(task_index=0, num_classes=2) is None
        True
    """

    knows_task: ClassVar[bool] = False
    reads_task_code: ClassVar[bool] = False

    def forward(
        self, pyramid: Sequence[Tensor], conditioned: ConditioningOutput, task: Tensor, num_classes: Sequence[int]
    ) -> list[Tensor]:
        """Pyramid, the output of the conditioning, ``task [B]``, the B class counts -> logits, finest first, each
        ``[B,K,Z,Y,X]`` float32.

        K is the widest task in the batch; rows of padding, beyond the classes of a sample's task, are -inf.
        """
        raise NotImplementedError

    def readout(self, task_index: int, num_classes: int) -> "Readout | None":
        """How the finest features become the logits of a task where that is one matrix for every image;

        None where it is not.
        """
        return None


@dataclass(frozen=True)
class Readout:
    """Logits are ``weight [K,C]`` times features, plus ``bias [K]``: linear, so that features may be averaged or
    resampled before it.

    Examples:
        >>> conv_readout(nn.Conv3d(4, 3, 1), slice(2)).weight.shape
        torch.Size([2, 4])
    """

    weight: Tensor
    bias: Tensor

    def of_labels(self, task: Task) -> "Readout":
        """For the scores of label values (see ``label_scores``) instead of classes."""
        if not task.regions:
            return self
        membership = to_device(task.membership, self.weight.device, self.weight.dtype)
        return Readout(membership @ self.weight[1:], membership @ self.bias[1:])


def conv_readout(conv: nn.Conv3d, rows: slice = slice(None)) -> Readout:
    """Of a 1x1x1 convolution."""
    weight = conv.weight[rows].flatten(1)
    return Readout(weight, weight.new_zeros(len(weight)) if conv.bias is None else conv.bias[rows])


def mask_padding_classes(logits: Tensor, num_classes: Sequence[int]) -> Tensor:
    """``[B,K,Z,Y,X]`` in float32 with -inf in the rows of padding, beyond the classes of each sample's task."""
    logits = logits.float()
    if min(num_classes) == logits.shape[1]:
        return logits
    is_padding = torch.arange(logits.shape[1]) >= torch.tensor(num_classes)[:, None]
    return logits.masked_fill(to_device(is_padding, logits.device)[:, :, None, None, None], float("-inf"))


def label_scores(logits: Tensor, task: Task) -> Tensor:
    """``[...,K,Z,Y,X]`` of one task -> ``[...,V,Z,Y,X]``: the label value with the largest score is the segmentation.

    Classes that exclude each other are their own label values. For regions, the score of a value is the sum of the
    logits of the regions that it belongs to, 0 for the background: up to a constant the log-likelihood under
    independent sigmoids, so the largest is the likeliest value that the labels know.
    """
    if not task.regions:
        return logits[..., : task.num_classes, :, :, :]
    membership = to_device(task.membership, logits.device, logits.dtype)
    return torch.einsum("vk,...kzyx->...vzyx", membership, logits[..., 1 : task.num_classes, :, :, :])
