"""Intersection over union."""

from dataclasses import dataclass

from uniseg.metrics.base import MaskPair, Metric
from uniseg.metrics.dice import dice


@dataclass(frozen=True, kw_only=True)
class IoU(Metric):
    """Of the Dice ``d`` it is ``d / (2 - d)``: 1, too, for a class that both lack.

    Examples:
        >>> metric = IoU(name="iou", title="IoU", unit="", higher_is_better=True)
        >>> round(metric.compute(MaskPair((2, 1, 1), lambda: None)), 3)
        0.5
    """

    def compute(self, pair: MaskPair) -> float:
        value = dice(*pair.counts)
        return value / (2 - value)
