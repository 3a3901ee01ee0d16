"""Counts of voxels, and what follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uniseg.device_copy import to_device


@dataclass(frozen=True)
class ClassCounts:
    """Per foreground class: true positives, false positives, false negatives; ``values [3, K-1]`` int64.

    Examples:
        >>> (ClassCounts.zero(2) + ClassCounts(torch.tensor([[2], [1], [1]]))).dice()
        tensor([0.6667], dtype=torch.float64)
    """

    values: Tensor

    @classmethod
    def zero(cls, num_classes: int, device: torch.device | None = None) -> "ClassCounts":
        return cls(torch.zeros(3, num_classes - 1, dtype=torch.int64, device=device))

    def __add__(self, other: "ClassCounts") -> "ClassCounts":
        return ClassCounts(self.values + other.values)

    def dice(self) -> Tensor:
        """``[K-1]`` float64; NaN where the class is empty in both (a score then: ``metrics/dice.py``)."""
        tp, fp, fn = self.values.double()
        return 2 * tp / (2 * tp + fp + fn)


def count_classes(predicted: Tensor, reference: Tensor, membership: Sequence[Sequence[bool]]) -> ClassCounts:
    """Two maps of label values, of one shape -> counts; voxels with a negative reference are left out.

    Args:
        membership: ``[V][K-1]``, which classes a label value belongs to (``Task.membership``).
    """
    num_labels = len(membership)
    pairs = reference.long() * num_labels + predicted.long()
    joint = _histogram(torch.where(reference >= 0, pairs, num_labels**2), num_labels**2 + 1)
    table = joint[: num_labels**2].view(num_labels, num_labels)
    inside = to_device(membership, table.device).T
    rows = (inside[:, :, None] * table).sum(1)  # [K-1, V]: of the reference's class, by prediction
    hits = (rows * inside).sum(1)
    predicted_voxels = (table.sum(0) * inside).sum(1)
    return ClassCounts(torch.stack([hits, predicted_voxels - hits, rows.sum(1) - hits]))


def _histogram(values: Tensor, num_bins: int) -> Tensor:
    """How often each of 0 to ``num_bins - 1`` occurs, int64; on CUDA ``bincount`` would wait for the device."""
    if values.is_cuda:
        return torch.histc(values, num_bins, 0, num_bins)
    return values.flatten().bincount(minlength=num_bins)[:num_bins]
