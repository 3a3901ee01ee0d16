"""A smooth multiplicative field, as the coils of an MR scanner make it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from uniseg.sampling.augment.base import IntensityTransform, PatchImages, Range, happens, range_of
from uniseg.settings import FRACTION, bounded, number

NUM_COEFFICIENTS = 6  # of z, y, x, then of their squares


@dataclass(frozen=True, kw_only=True)
class BiasField(IntensityTransform):
    """Multiplies each modality by the exponential of its own polynomial of second degree without mixed terms.

    Attributes:
        p: that a sample gets fields.
        coefficient: of each term, whose variable runs from -1 to 1 over the patch.

    Examples:
        >>> BiasField(p=1.0, coefficient=(0, 0)).draw(np.random.default_rng(0), (False,))
        ((0.0, 0.0, 0.0, 0.0, 0.0, 0.0),)
    """

    group: ClassVar[str] = "augment.transforms.bias_field"

    p: float = field(default=0.2, metadata=bounded(FRACTION))
    coefficient: Range = field(default=(-0.3, 0.3), metadata=bounded(range_of(number(least=-3, most=3))))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> tuple[tuple[float, ...], ...]:
        if not happens(rng, self.p):
            return ()
        return tuple(tuple(rng.uniform(*self.coefficient, NUM_COEFFICIENTS).tolist()) for _ in optional)

    def apply(self, patches: PatchImages, drawn: Sequence[tuple[tuple[float, ...], ...]]) -> None:
        axes = [torch.linspace(-1, 1, n, device=patches.image.device) for n in patches.image.shape[2:]]
        for sample, coefficients in zip(patches.samples(), drawn, strict=True):
            for row, c in zip(sample, coefficients, strict=False):  # none where nothing was drawn
                z, y, x = ((c[k] * axis + c[k + 3] * axis**2).exp() for k, axis in enumerate(axes))
                row.mul_(z[:, None, None]).mul_(y[:, None]).mul_(x)
