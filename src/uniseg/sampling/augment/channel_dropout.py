"""Dropout of modalities that a case may lack."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from uniseg.sampling.augment.base import IntensityTransform, PatchImages, happens
from uniseg.settings import FRACTION, bounded


@dataclass(frozen=True, kw_only=True)
class ChannelDropout(IntensityTransform):
    """Sets modalities that the task declares optional to zero, as if the case lacked them.

    Examples:
        >>> ChannelDropout(p_channel_dropout=1.0).draw(np.random.default_rng(0), (False, True))
        (False, True)
    """

    p_channel_dropout: float = field(default=0.2, metadata=bounded(FRACTION))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> tuple[bool, ...]:
        return tuple(may_lack and happens(rng, self.p_channel_dropout) for may_lack in optional)

    def apply(self, patches: PatchImages, drawn: Sequence[tuple[bool, ...]]) -> None:
        for sample, dropped in zip(patches.samples(), drawn, strict=True):
            for row, is_dropped in zip(sample, dropped, strict=True):
                if is_dropped:
                    row.zero_()
