"""Rotation and scaling of the sampling grid."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, sin

import numpy as np

from uniseg.sampling.augment.base import Range, SpatialTransform, draw_factor, happens, range_of
from uniseg.settings import FRACTION, bounded, number


@dataclass(frozen=True)
class AffineDraw:
    """Radians about (z, y, x); scale of the grid: above 1 the patch shows more of the scan.

    Examples:
        >>> AffineDraw(scale=1.2).rotation
        (0.0, 0.0, 0.0)
    """

    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Affine(SpatialTransform):
    """Turns about each axis by its own angle, scales all axes alike.

    Attributes:
        rotation_deg: of each angle.
        scale: half of the draws are below 1, half above; at most 4, which reads 64 patches for one.

    Examples:
        >>> Affine(p_rotation=1.0).draw(np.random.default_rng(0), (False,)).scale
        1.0
    """

    p_rotation: float = field(default=0.2, metadata=bounded(FRACTION))
    rotation_deg: Range = field(default=(-30, 30), metadata=bounded(range_of(number(least=-180, most=180))))
    p_scale: float = field(default=0.2, metadata=bounded(FRACTION))
    scale: Range = field(default=(0.7, 1.4), metadata=bounded(range_of(number(least=0.1, most=4))))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> AffineDraw:
        rotates, scales = happens(rng, self.p_rotation), happens(rng, self.p_scale)
        rotation = tuple(float(np.deg2rad(rng.uniform(*self.rotation_deg))) if rotates else 0.0 for _ in range(3))
        return AffineDraw(rotation, draw_factor(rng, self.scale) if scales else 1.0)

    def matrix(self, drawn: AffineDraw) -> np.ndarray | None:
        if drawn.scale == 1 and not any(drawn.rotation):
            return None
        (cz, sz), (cy, sy), (cx, sx) = ((cos(angle), sin(angle)) for angle in drawn.rotation)
        about_z = np.array([[1, 0, 0], [0, cz, -sz], [0, sz, cz]])
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_x = np.array([[cx, -sx, 0], [sx, cx, 0], [0, 0, 1]])
        return drawn.scale * about_z @ about_y @ about_x
