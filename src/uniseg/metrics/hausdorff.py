"""A percentile of the distances between two surfaces (HD95)."""

from dataclasses import dataclass
from typing import ClassVar

from uniseg.metrics.base import MaskPair, Metric
from uniseg.metrics.surface import NAN


@dataclass(frozen=True, kw_only=True)
class Hausdorff(Metric):
    """The larger of both directions' percentiles; NaN for a class that both lack, the scan's diagonal for one that only
    one has, so that a miss is no gain.

    Examples:
        >>> median = Hausdorff(name="hd50_mm", title="HD50", unit="mm", higher_is_better=False, percentile=50)
        >>> median.compute(MaskPair((0, 0, 0), lambda: None))
        nan
    """

    percentile: float

    needs_surfaces: ClassVar[bool] = True

    def compute(self, pair: MaskPair) -> float:
        if pair.surfaces is None:
            return NAN if pair.both_empty else pair.diagonal_mm
        return pair.surfaces.hausdorff(self.percentile)
