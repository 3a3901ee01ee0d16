"""Gaussian noise."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from uniseg.sampling.augment.base import (
    NOT_APPLIED,
    IntensityTransform,
    PatchImages,
    Range,
    happens,
    range_of,
)
from uniseg.settings import FRACTION, bounded, number


@dataclass(frozen=True, kw_only=True)
class Noise(IntensityTransform):
    """Adds noise of one standard deviation per sample, from the sample's own generator on the device.

    Examples:
        >>> Noise(p_noise=1.0, noise_sd=(0.1, 0.1)).draw(np.random.default_rng(0), (False,))
        0.1
    """

    p_noise: float = field(default=0.1, metadata=bounded(FRACTION))
    noise_sd: Range = field(default=(0, 0.1), metadata=bounded(range_of(number(least=0, most=10))))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> float:
        return float(rng.uniform(*self.noise_sd)) if happens(rng, self.p_noise) else NOT_APPLIED

    def apply(self, patches: PatchImages, drawn: Sequence[float]) -> None:
        for sample, sd, seed in zip(patches.samples(), drawn, patches.seeds, strict=True):
            if sd == sd:
                generator = torch.Generator(sample.device).manual_seed(seed)
                for row in sample:
                    noise = torch.randn(row.shape, generator=generator, device=row.device)
                    row.add_(noise.mul_(row.any()), alpha=sd)
