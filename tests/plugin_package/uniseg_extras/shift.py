"""A transform: every image is shifted by one number."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from uniseg.sampling.augment.base import IntensityTransform, PatchImages
from uniseg.settings import NOT_NEGATIVE, bounded


@dataclass(frozen=True, kw_only=True)
class Shift(IntensityTransform):
    """Adds a number between ``-most`` and ``most``; what is 0 stays so."""

    most: float = field(default=0.1, metadata=bounded(NOT_NEGATIVE))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> float:
        return float(rng.uniform(-self.most, self.most))

    def apply(self, patches: PatchImages, drawn: Sequence[float]) -> None:
        for sample, shift in zip(patches.samples(), drawn, strict=True):
            sample[sample != 0] += shift
