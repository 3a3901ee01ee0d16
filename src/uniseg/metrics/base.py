"""What a metric is: one number about one class of one case. Adding one takes a file here and a YAML in conf/metric."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from uniseg.metrics.lesions import LesionCounts, count_lesions
from uniseg.metrics.surface import SurfaceDistances, surface_distances

Masks = tuple[np.ndarray, np.ndarray]


class MaskPair:
    """Prediction and reference of one class of one case; what several metrics need is computed once, when first needed.

    Args:
        counts: voxels of both masks, of the prediction alone, of the reference alone.
        masks: makes prediction and reference ``[Z,Y,X]`` bool; ignored voxels are outside both.
        spacing_mm: (z, y, x).
        tolerance_mm: up to which surfaces count as the same.
        lesion_overlap: fraction of a lesion's voxels that must be predicted for it to be found; 0: one voxel.

    Examples:
        >>> pair = MaskPair.of_masks(np.array([[[True, True]]]), np.array([[[False, True]]]))
        >>> pair.counts
        (1, 1, 0)
    """

    def __init__(
        self,
        counts: tuple[int, int, int],
        masks: Callable[[], Masks],
        spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
        *,
        tolerance_mm: float = 2.0,
        lesion_overlap: float = 0.0,
    ) -> None:
        self.counts, self.spacing_mm = counts, tuple(spacing_mm)
        self.tolerance_mm, self.lesion_overlap = tolerance_mm, lesion_overlap
        self._make_masks = masks

    @classmethod
    def of_masks(cls, predicted: np.ndarray, reference: np.ndarray, *args, **settings) -> "MaskPair":
        """Of two boolean masks; the other arguments as of the class."""
        pairs = ((predicted, reference), (predicted, ~reference), (~predicted, reference))
        counts = tuple(int(np.count_nonzero(a & b)) for a, b in pairs)
        return cls(counts, lambda: (predicted, reference), *args, **settings)

    @property
    def both_empty(self) -> bool:
        return not any(self.counts)

    @property
    def one_empty(self) -> bool:
        """Whether just one of the two masks is empty."""
        hits, false_alarms, misses = self.counts
        return not self.both_empty and (hits + false_alarms == 0 or hits + misses == 0)

    @cached_property
    def masks(self) -> Masks:
        return self._make_masks()

    @cached_property
    def surfaces(self) -> SurfaceDistances | None:
        """None where one of the masks is empty."""
        if self.both_empty or self.one_empty:
            return None
        return surface_distances(*self.masks, self.spacing_mm)

    @cached_property
    def diagonal_mm(self) -> float:
        """Of the scan: the distance of a class that was missed."""
        return float(np.linalg.norm(np.multiply(self.masks[0].shape, self.spacing_mm)))

    @cached_property
    def lesions(self) -> LesionCounts:
        return count_lesions(*self.masks, least_overlap=self.lesion_overlap)


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """One number about one class of one case. ``scores.csv`` has a column of it, ``metrics.json`` its mean over cases,
    a report shows it and compares runs by it.

    Attributes:
        name: of the column, of the key, of the choice ``metric=``; the YAML file is called so.
        title: what tables call it.
        unit: mm, ml; empty for a ratio.
        higher_is_better: whether a larger number is a better one.
        order: among the others in tables and files.
        needs_surfaces: whether it is left out where ``rules.surfaces`` is false.

    Examples:
        >>> class PredictedVoxels(Metric):
        ...     def compute(self, pair):
        ...         return float(pair.counts[0] + pair.counts[1])
        >>> voxels = PredictedVoxels(name="voxels", title="predicted", unit="voxels", higher_is_better=False)
        >>> voxels.head, voxels.compute(MaskPair((3, 1, 0), lambda: None))
        ('predicted, voxels', 4.0)
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    order: float = 100

    needs_surfaces: ClassVar[bool] = False

    @abstractmethod
    def compute(self, pair: MaskPair) -> float:
        """NaN where the number does not exist, which leaves the case out of means."""

    @property
    def head(self) -> str:
        """Title with unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def text(self, value: float) -> str:
        """For a table: three decimals of a ratio, one of a quantity with a unit."""
        return f"{value:.1f}" if self.unit else f"{value:.3f}"
