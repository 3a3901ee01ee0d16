"""Each scan by its own mean and standard deviation, as of MR and PET."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from uniseg.normalization.base import SMALLEST_SD, TRUTH, Normalization, measured

BLOCK = 2**22  # voxels that are widened to double precision at a time
MASK_BELOW = 3 / 4  # nnU-Net: inside the body where cropping leaves less than this of the voxels


@dataclass(frozen=True)
class ZScore(Normalization):
    """Subtract the scan's mean, divide by its deviation; with ``masked`` those of the body, all else becomes 0.

    Example:
        >>> mr = np.array([[[0.0, 1.0, 3.0]]], np.float32)
        >>> ZScore(masked=True).apply(mr, mr != 0)
        >>> mr.tolist()
        [[[0.0, -1.0, 1.0]]]
    """

    mode: str = "zscore"
    masked: bool | None = measured(TRUTH)  # type: ignore[assignment]

    @property
    def resolved(self) -> bool:
        return self.masked is not None

    def resolve(self, where: str, samples: np.ndarray, crop_ratio: float) -> "ZScore":
        return self if self.resolved else replace(self, masked=crop_ratio < MASK_BELOW)

    def apply(self, values: np.ndarray, body: np.ndarray) -> None:
        inside = values[body] if self.masked else values
        if inside.size:
            mean, sd = _moments(inside)
            values -= np.float32(mean)
            values /= np.float32(max(sd, SMALLEST_SD))
        if self.masked:
            values[~body] = 0


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation in double precision, block by block."""
    flat = values.reshape(-1)
    blocks = [flat[start : start + BLOCK] for start in range(0, len(flat), BLOCK)]
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / len(flat)
    return mean, sqrt(sum(float(np.square(block - mean, dtype=np.float64).sum()) for block in blocks) / len(flat))
