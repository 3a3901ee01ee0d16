"""Gamma, of the image and of its negative."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from uniseg.sampling.augment.base import Range, RowTransform, draw_factor, draw_rows, per_row, range_of, row_mean
from uniseg.settings import FRACTION, bounded, number

SMALLEST = 1e-8
EXPONENTS = range_of(number(least=0.01, most=10))


@dataclass(frozen=True, kw_only=True)
class Gamma(RowTransform):
    """Raises each modality, scaled to 0..1, to a power; mean and standard deviation are restored.

    Examples:
        >>> Gamma(p_gamma=1.0, gamma=(1, 1)).draw(np.random.default_rng(0), (False,))
        (1.0,)
    """

    p_gamma: float = field(default=0.3, metadata=bounded(FRACTION))
    gamma: Range = field(default=(0.7, 1.5), metadata=bounded(EXPONENTS))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> tuple[float, ...]:
        return draw_rows(rng, len(optional), self.p_gamma, 1, lambda: draw_factor(rng, self.gamma))

    def change(self, rows: Tensor, parameters: Tensor) -> Tensor:
        return _to_the_power(rows, parameters)


@dataclass(frozen=True, kw_only=True)
class InvertedGamma(RowTransform):
    """The gamma transform of the negative.

    Examples:
        >>> InvertedGamma(p_gamma_inverted=1.0, gamma=(1, 1)).draw(np.random.default_rng(0), (False,))
        (1.0,)
    """

    p_gamma_inverted: float = field(default=0.1, metadata=bounded(FRACTION))
    gamma: Range = field(default=(0.7, 1.5), metadata=bounded(EXPONENTS))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> tuple[float, ...]:
        return draw_rows(rng, len(optional), self.p_gamma_inverted, 1, lambda: draw_factor(rng, self.gamma))

    def change(self, rows: Tensor, parameters: Tensor) -> Tensor:
        return _to_the_power(-rows, parameters).neg_()


def _to_the_power(rows: Tensor, exponent: Tensor) -> Tensor:
    low, mean = rows.amin((1, 2, 3), True), row_mean(rows)
    span = rows.amax((1, 2, 3), True) - low
    curved = rows - mean
    sd = _sd_of_centred(curved)
    curved.add_(mean - low).div_(span + SMALLEST).clamp_min_(0).pow_(per_row(exponent, rows))
    curved.sub_(row_mean(curved))
    return torch.addcmul(mean, curved, sd * span / (_sd_of_centred(curved) * span + SMALLEST))


def _sd_of_centred(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=(1, 2, 3), keepdim=True) / rows[0].numel() ** 0.5
