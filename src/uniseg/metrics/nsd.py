"""Normalised surface Dice (NSD)."""

from dataclasses import dataclass
from typing import ClassVar

from uniseg.metrics.base import MaskPair, Metric


@dataclass(frozen=True, kw_only=True)
class SurfaceDice(Metric):
    """Fraction of both surfaces that lies within a tolerance of the other (Nikolov et al. 2018, by voxels); 1 for a
    class that both lack, 0 for one that only one has.

    Attributes:
        tolerance_mm: None: that of the rules of the evaluation, for the task.

    Examples:
        >>> metric = SurfaceDice(name="nsd", title="NSD", unit="", higher_is_better=True, tolerance_mm=1.0)
        >>> metric.compute(MaskPair((0, 4, 0), lambda: None))
        0.0
    """

    tolerance_mm: float | None = None

    needs_surfaces: ClassVar[bool] = True

    def compute(self, pair: MaskPair) -> float:
        if pair.surfaces is None:
            return 1.0 if pair.both_empty else 0.0
        return pair.surfaces.nsd(pair.tolerance_mm if self.tolerance_mm is None else self.tolerance_mm)
