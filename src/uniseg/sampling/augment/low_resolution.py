"""Low resolution."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from torch import Tensor

from uniseg.preprocessing.resample import axis_matrix
from uniseg.sampling.augment.base import Range, RowTransform, draw_rows, multiply_axes, range_of
from uniseg.settings import FRACTION, bounded, number


@dataclass(frozen=True, kw_only=True)
class LowResolution(RowTransform):
    """Shrinks modalities by nearest neighbour to a fraction of their size, enlarges them again by cubic spline.

    Examples:
        >>> transform = LowResolution(p_low_resolution=0.0)
        >>> transform.draw(np.random.default_rng(0), (False,))
        (nan,)
    """

    p_low_resolution: float = field(default=0.25, metadata=bounded(FRACTION))
    p_low_resolution_channel: float = field(default=0.5, metadata=bounded(FRACTION))
    low_resolution_zoom: Range = field(default=(0.5, 1), metadata=bounded(range_of(number(least=0.01, most=1))))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> tuple[float, ...]:
        p, p_channel = self.p_low_resolution, self.p_low_resolution_channel
        return draw_rows(rng, len(optional), p, p_channel, lambda: float(rng.uniform(*self.low_resolution_zoom)))

    def change(self, rows: Tensor, parameters: Tensor) -> Tensor:
        return multiply_axes(rows, [[_there_and_back(size, float(z)) for z in parameters] for size in rows.shape[1:]])


@lru_cache(maxsize=16)  # axes are often of one length
def _there_and_back(size: int, zoom: float) -> np.ndarray:
    small = max(1, round(size * zoom))
    return axis_matrix(small, size, 3) @ axis_matrix(size, small, 0)
