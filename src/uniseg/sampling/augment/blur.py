"""Gaussian blur."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy import ndimage
from torch import Tensor

from uniseg.sampling.augment.base import Range, RowTransform, draw_rows, multiply_axes, range_of
from uniseg.settings import FRACTION, bounded, number


@dataclass(frozen=True, kw_only=True)
class Blur(RowTransform):
    """Blurs modalities, each by its own width in voxels; borders are reflected.

    Examples:
        >>> Blur(p_blur=1.0, p_blur_channel=1.0, blur_sigma=(1, 1)).draw(np.random.default_rng(0), (False,))
        (1.0,)
    """

    p_blur: float = field(default=0.2, metadata=bounded(FRACTION))
    p_blur_channel: float = field(default=0.5, metadata=bounded(FRACTION))
    blur_sigma: Range = field(default=(0.5, 1), metadata=bounded(range_of(number(least=0, most=10))))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> tuple[float, ...]:
        return draw_rows(
            rng, len(optional), self.p_blur, self.p_blur_channel, lambda: float(rng.uniform(*self.blur_sigma))
        )

    def change(self, rows: Tensor, parameters: Tensor) -> Tensor:
        return multiply_axes(rows, [[_blur_matrix(size, float(s)) for s in parameters] for size in rows.shape[1:]])


@lru_cache(maxsize=16)
def _identity(size: int) -> np.ndarray:
    return np.eye(size, dtype=np.float32)


@lru_cache(maxsize=16)  # axes are often of one length
def _blur_matrix(size: int, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter1d(_identity(size), sigma, axis=0, mode="reflect")
