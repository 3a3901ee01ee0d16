"""Counts of lesions: found, missed, made up."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label

from uniseg.metrics.surface import bounding_box

TOUCHING = np.ones((3, 3, 3), bool)  # 26 neighbours


@dataclass(frozen=True)
class LesionCounts:
    """Connected components (26 neighbours).

    A lesion of the reference is found where the prediction has enough of its voxels; a predicted one is false where it
    has no voxel of any lesion of the reference.

    Examples:
        >>> LesionCounts(found=2, missed=1, false=1).sensitivity
        0.6666666666666666
    """

    found: int
    missed: int
    false: int

    def __add__(self, other: "LesionCounts") -> "LesionCounts":
        return LesionCounts(self.found + other.found, self.missed + other.missed, self.false + other.false)

    @property
    def sensitivity(self) -> float:
        """NaN without a lesion in the reference."""
        total = self.found + self.missed
        return self.found / total if total else float("nan")

    @property
    def f1(self) -> float:
        """NaN where neither has a lesion."""
        total = 2 * self.found + self.missed + self.false
        return 2 * self.found / total if total else float("nan")


def count_lesions(predicted: np.ndarray, reference: np.ndarray, *, least_overlap: float = 0.0) -> LesionCounts:
    """Two boolean masks ``[Z,Y,X]``.

    Args:
        least_overlap: fraction of a lesion's voxels that must be predicted; 0: one voxel.
    """
    both = predicted | reference
    if not both.any():
        return LesionCounts(0, 0, 0)
    box = bounding_box(both)
    predicted, reference = predicted[box], reference[box]
    lesions, num_lesions = label(reference, TOUCHING)
    guesses, num_guesses = label(predicted, TOUCHING)
    sizes = np.bincount(lesions.ravel(), minlength=num_lesions + 1)[1:]
    hits = np.bincount(lesions[predicted], minlength=num_lesions + 1)[1:]
    num_found = int(np.count_nonzero((hits > 0) & (hits >= least_overlap * sizes)))
    touched = np.unique(guesses[reference & predicted])
    return LesionCounts(num_found, num_lesions - num_found, num_guesses - len(touched))
