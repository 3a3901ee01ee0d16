"""A fixed window of intensities, as of CT in Hounsfield units."""

from dataclasses import dataclass

import numpy as np

from uniseg.errors import InputError
from uniseg.normalization.base import INTENSITY, Normalization, clip_and_scale, measured


@dataclass(frozen=True)
class IntensityWindow(Normalization):
    """Clip to [lower, upper], then scale linearly to [0, 1].

    Example:
        >>> ct = np.array([[[-1000.0, 0.0, 325.0]]], np.float32)
        >>> IntensityWindow(lower=-325, upper=325).apply(ct, ct != 0)
        >>> ct.tolist()
        [[[0.0, 0.5, 1.0]]]

    Raises:
        InputError: no two numbers, or the lower not below the upper.
    """

    mode: str = "window"
    lower: float | None = measured(INTENSITY)
    upper: float | None = measured(INTENSITY)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lower is None or self.upper is None or not self.lower < self.upper:
            found, fix = f"window [{self.lower}, {self.upper}]", "give both in the task file"
            raise InputError("normalization", found, "lower < upper", fix)

    def apply(self, values: np.ndarray, body: np.ndarray) -> None:
        clip_and_scale(values, (self.lower, self.upper), self.lower, self.upper - self.lower)
