"""Dice. Here it is decided what a class scores that prediction and reference both lack."""

from dataclasses import dataclass

from uniseg.metrics.base import MaskPair, Metric

# Such a case was got right. nnU-Net leaves it out of its means instead, as NaN does, which ``dice_nnunet`` shows.
BOTH_EMPTY = 1.0


@dataclass(frozen=True, kw_only=True)
class Dice(Metric):
    """Twice the common voxels over the voxels of both.

    Examples:
        >>> metric = Dice(name="dice", title="Dice", unit="", higher_is_better=True)
        >>> metric.compute(MaskPair((0, 0, 0), lambda: None)), metric.compute(MaskPair((2, 1, 1), lambda: None))
        (1.0, 0.6666666666666666)
    """

    def compute(self, pair: MaskPair) -> float:
        return dice(*pair.counts)


def dice(hits: int, false_alarms: int, misses: int, both_empty: float = BOTH_EMPTY) -> float:
    """Of numbers of voxels.

    Examples:
        >>> dice(1, 1, 0), dice(0, 0, 0), dice(0, 0, 5)
        (0.6666666666666666, 1.0, 0.0)
    """
    total = 2 * hits + false_alarms + misses
    return 2 * hits / total if total else both_empty
