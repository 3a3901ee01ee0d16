"""Brightness."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from uniseg.sampling.augment.base import FACTORS, Range, RowTransform, draw_rows, per_row
from uniseg.settings import FRACTION, bounded


@dataclass(frozen=True, kw_only=True)
class Brightness(RowTransform):
    """Multiplies each modality.

    Examples:
        >>> Brightness(p_brightness=1.0, brightness=(1, 1)).draw(np.random.default_rng(0), (False, False))
        (1.0, 1.0)
    """

    p_brightness: float = field(default=0.15, metadata=bounded(FRACTION))
    brightness: Range = field(default=(0.75, 1.25), metadata=bounded(FACTORS))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> tuple[float, ...]:
        return draw_rows(rng, len(optional), self.p_brightness, 1, lambda: float(rng.uniform(*self.brightness)))

    def change(self, rows: Tensor, parameters: Tensor) -> Tensor:
        return rows * per_row(parameters, rows)
