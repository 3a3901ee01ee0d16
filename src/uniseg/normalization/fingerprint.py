"""Intensities of a task's own foreground: nnU-Net's scheme for CT."""

from dataclasses import dataclass, field, replace

import numpy as np

from uniseg.errors import InputError
from uniseg.normalization.base import INTENSITY, SMALLEST_SD, Normalization, clip_and_scale, measured
from uniseg.settings import bounded, number

PERCENTILE = number(least=0, most=100)


@dataclass(frozen=True)
class Fingerprint(Normalization):
    """Clip to two percentiles of the foreground of the training cases, subtract its mean, divide by its deviation.

    Example:
        >>> how = Fingerprint().resolve("liver", np.arange(101.0), crop_ratio=1.0)
        >>> (how.lower, how.upper, how.mean)
        (0.5, 99.5, 50.0)
    """

    mode: str = "fingerprint"
    lower: float | None = measured(INTENSITY)
    upper: float | None = measured(INTENSITY)
    mean: float | None = measured(INTENSITY)
    sd: float | None = measured(INTENSITY)
    lower_percentile: float = field(default=0.5, metadata=bounded(PERCENTILE))
    upper_percentile: float = field(default=99.5, metadata=bounded(PERCENTILE))

    @property
    def resolved(self) -> bool:
        return None not in (self.lower, self.upper, self.mean, self.sd)

    @property
    def is_shared(self) -> bool:
        return self.resolved

    def resolve(self, where: str, samples: np.ndarray, crop_ratio: float) -> "Fingerprint":
        if self.resolved:
            return self
        known = samples[np.isfinite(samples)].astype(np.float64)
        if not known.size:
            fix = "label one, or use mode: zscore"
            raise InputError(
                where, "no foreground voxel in any training case", "at least one, to take percentiles of", fix
            )
        lower, upper = (float(q) for q in np.percentile(known, [self.lower_percentile, self.upper_percentile]))
        return replace(self, lower=lower, upper=upper, mean=float(known.mean()), sd=float(known.std()))

    def apply(self, values: np.ndarray, body: np.ndarray) -> None:
        clip_and_scale(values, (self.lower, self.upper), self.mean, max(self.sd, SMALLEST_SD))  # type: ignore[type-var]
