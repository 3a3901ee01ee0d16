"""Intersection over union."""

from dataclasses import dataclass

from uniseg.metrics.base import MaskPair, Metric
from uniseg.metrics.dice import dice


@dataclass(frozen=True, kw_only=True)
class IoU(Metric):
    """Of the Dice ``d`` it is ``d / (2 - d)``: 1, too, for a class that both lack."""

    def compute(self, pair: MaskPair) -> float:
        value = dice(*pair.counts)
        return value / (2 - value)
