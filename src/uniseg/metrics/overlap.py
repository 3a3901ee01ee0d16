"""Counts of voxels, and what follows from them."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassCounts:
    """Per foreground class: true positives, false positives, false negatives; ``values [3, K-1]`` int64."""

    values: Tensor

    @classmethod
    def zero(cls, num_classes: int, device: torch.device | None = None) -> "ClassCounts":
        return cls(torch.zeros(3, num_classes - 1, dtype=torch.int64, device=device))

    def __add__(self, other: "ClassCounts") -> "ClassCounts":
        return ClassCounts(self.values + other.values)

    def dice(self) -> Tensor:
        """``[K-1]`` float64; NaN where the class is empty in reference and prediction."""
        tp, fp, fn = self.values.double()
        return 2 * tp / (2 * tp + fp + fn)


def count_classes(predicted: Tensor, reference: Tensor, num_classes: int) -> ClassCounts:
    """Two label maps of one shape -> counts; voxels with a negative reference are left out."""
    valid = reference >= 0
    joint = (reference[valid].long() * num_classes + predicted[valid].long()).bincount(minlength=num_classes**2)
    table = joint[: num_classes**2].view(num_classes, num_classes)
    hit = table.diagonal()
    return ClassCounts(torch.stack([hit, table.sum(0) - hit, table.sum(1) - hit])[:, 1:])
