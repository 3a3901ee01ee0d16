"""A normalisation of one's own: a power of the intensities between two measured limits."""

from dataclasses import dataclass, field, replace

import numpy as np

from uniseg.normalization.base import Normalization
from uniseg.settings import bounded, number


@dataclass(frozen=True)
class Power(Normalization):
    """Divide by the largest foreground intensity, then raise to ``exponent``."""

    mode: str = "power"
    exponent: float = field(default=1.0, metadata=bounded(number(above=0, most=10)))
    upper: float | None = None

    @property
    def resolved(self) -> bool:
        return self.upper is not None

    def resolve(self, where: str, samples: np.ndarray, crop_ratio: float) -> "Power":
        return self if self.resolved else replace(self, upper=float(np.nanmax(samples)))

    def apply(self, values: np.ndarray, body: np.ndarray) -> None:
        values /= self.upper
        values **= self.exponent
