"""Mirroring."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from uniseg.sampling.augment.base import SpatialTransform, happens
from uniseg.settings import AXES, bounded


@dataclass(frozen=True, kw_only=True)
class Mirror(SpatialTransform):
    """Flips each of some axes (z, y, x) = (0, 1, 2) of every second sample; none for tasks that tell left from right.

    Examples:
        >>> Mirror(mirror_axes=()).draw(np.random.default_rng(0), (False,))
        (False, False, False)
    """

    mirror_axes: tuple[int, ...] = field(default=(0, 1, 2), metadata=bounded(AXES))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> tuple[bool, bool, bool]:
        return tuple(axis in self.mirror_axes and happens(rng, 0.5) for axis in range(3))

    def matrix(self, drawn: tuple[bool, bool, bool]) -> np.ndarray | None:
        return np.diag(np.where(drawn, -1.0, 1.0)) if any(drawn) else None
