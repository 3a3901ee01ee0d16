"""Average symmetric surface distance (ASSD)."""

from dataclasses import dataclass
from typing import ClassVar

from uniseg.metrics.base import MaskPair, Metric
from uniseg.metrics.surface import NAN


@dataclass(frozen=True, kw_only=True)
class MeanSurfaceDistance(Metric):
    """Mean over the voxels of both surfaces; NaN for a class that both lack, the scan's diagonal for one that only one
    has.

    Examples:
        >>> metric = MeanSurfaceDistance(name="assd_mm", title="ASSD", unit="mm", higher_is_better=False)
        >>> metric.compute(MaskPair((0, 0, 0), lambda: None))
        nan
    """

    needs_surfaces: ClassVar[bool] = True

    def compute(self, pair: MaskPair) -> float:
        if pair.surfaces is None:
            return NAN if pair.both_empty else pair.diagonal_mm
        return pair.surfaces.assd()
