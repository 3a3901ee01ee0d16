"""Contrast."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from uniseg.sampling.augment.base import FACTORS, Range, RowTransform, draw_factor, draw_rows, per_row, row_mean
from uniseg.settings import FRACTION, bounded


@dataclass(frozen=True, kw_only=True)
class Contrast(RowTransform):
    """Stretches each modality about its mean, kept within its range.

    Examples:
        >>> Contrast(p_contrast=1.0, contrast=(1, 1)).draw(np.random.default_rng(0), (False,))
        (1.0,)
    """

    p_contrast: float = field(default=0.15, metadata=bounded(FRACTION))
    contrast: Range = field(default=(0.75, 1.25), metadata=bounded(FACTORS))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> tuple[float, ...]:
        return draw_rows(rng, len(optional), self.p_contrast, 1, lambda: draw_factor(rng, self.contrast))

    def change(self, rows: Tensor, parameters: Tensor) -> Tensor:
        factor, mean = per_row(parameters, rows), row_mean(rows)
        return torch.addcmul(mean * (1 - factor), rows, factor).clamp_(
            rows.amin((1, 2, 3), True), rows.amax((1, 2, 3), True)
        )
