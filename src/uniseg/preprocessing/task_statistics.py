"""What a network is told of its training scans: histograms, and the ranges of its classes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, log
from typing import Any

import numpy as np
from scipy import ndimage

from uniseg.preprocessing.histogram import NUM_KNOTS
from uniseg.task import Task

TOUCHING = np.ones((3, 3, 3), bool)  # 26 neighbours
SPECK = 0.02  # of a class's volume: smaller components are not counted
SLACK = 0.1  # of the upper end of a range, added to both numbers, so that a few voxels are no distance


@dataclass(frozen=True)
class ClassSize:
    """Volume and number of components of a class in one label map.

    Examples:
        >>> measure_class(np.ones((2, 2, 2), bool), voxel_ml=0.5)
        ClassSize(volume_ml=4.0, components=1)
    """

    volume_ml: float
    components: int


@dataclass(frozen=True)
class ClassRange:
    """What the training cases have of a class.

    Attributes:
        volume_ml, components: lowest and highest among the cases that have it.
        present: fraction of the cases that have it.

    Examples:
        >>> liver = ClassRange((900, 2000), (1, 1), present=1.0)
        >>> liver.distance(ClassSize(1500, 1)), round(liver.distance(ClassSize(0, 0)), 2)
        (0.0, 2.4)
    """

    volume_ml: tuple[float, float]
    components: tuple[float, float]
    present: float

    def distance(self, size: ClassSize) -> float:
        """How far outside, as the logarithm of a ratio; 0 inside, and for a class that is missing where cases lacked
        it.
        """
        if size.volume_ml == 0 and self.present < 1:
            return 0.0
        return max(_outside(size.volume_ml, self.volume_ml), _outside(size.components, self.components))


@dataclass(frozen=True)
class TaskStatistics:
    """Of the training cases of one task.

    Attributes:
        histograms: of the prepared images, per modality: as of ``histogram_knots``.
        ranges: of every foreground class that some case has.

    Examples:
        >>> TaskStatistics.from_dict({"histograms": [], "ranges": {}}).ranges
        {}
    """

    histograms: tuple[tuple[float, ...], ...]
    ranges: Mapping[str, ClassRange]

    def to_dict(self) -> dict[str, Any]:
        """Plain containers."""
        histograms = [[round(value, 5) for value in knots] for knots in self.histograms]
        return {"histograms": histograms, "ranges": {name: asdict(each) for name, each in self.ranges.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TaskStatistics":
        """
        Raises:
            KeyError, TypeError, ValueError: not as ``to_dict`` wrote it.
        """
        histograms = tuple(tuple(map(float, knots)) for knots in values["histograms"])
        ranges = {str(name): _read_range(each) for name, each in values["ranges"].items()}
        if any(len(knots) not in (0, NUM_KNOTS) or not all(map(isfinite, knots)) for knots in histograms):
            raise ValueError("a histogram of another length")
        return cls(histograms, ranges)


def measure_class(mask: np.ndarray, voxel_ml: float) -> ClassSize:
    """Of a boolean mask ``[Z,Y,X]``; components (26 neighbours) below 2 % of the volume are not counted."""
    (box,) = ndimage.find_objects(mask.astype(np.uint8)) or (None,)
    if box is None:
        return ClassSize(0.0, 0)
    components, _ = ndimage.label(mask[box], TOUCHING)
    sizes = np.bincount(components.ravel())[1:]
    return ClassSize(float(sizes.sum()) * voxel_ml, int((sizes >= SPECK * sizes.sum()).sum()))


def measure_label(label: np.ndarray, task: Task, voxel_ml: float) -> dict[str, ClassSize]:
    """Class -> size in a map of label values ``[Z,Y,X]``."""
    boxes = ndimage.find_objects(label)  # of every value, in one pass over the scan
    sizes = {}
    for name, values in zip(task.classes[1:], task.class_values, strict=True):
        box = _joined_box(boxes, values)
        sizes[name] = ClassSize(0.0, 0) if box is None else measure_class(np.isin(label[box], values), voxel_ml)
    return sizes


def _joined_box(boxes: Sequence[tuple[slice, ...] | None], values: Sequence[int]) -> tuple[slice, ...] | None:
    """Around all voxels of some label values; None where there is none."""
    found = [box for value in values if value <= len(boxes) and (box := boxes[value - 1])]
    if not found:
        return None
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*found, strict=True))


def class_ranges(cases: Sequence[Mapping[str, ClassSize]]) -> dict[str, ClassRange]:
    """Of every class that some case has."""
    ranges = {}
    for name in cases[0] if cases else ():
        sizes = [case[name] for case in cases if case[name].volume_ml > 0]
        if sizes:
            volumes, components = [size.volume_ml for size in sizes], [float(size.components) for size in sizes]
            ends = ((round(min(volumes), 4), round(max(volumes), 4)), (min(components), max(components)))
            ranges[name] = ClassRange(*ends, present=len(sizes) / len(cases))
    return ranges


def _outside(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    slack = SLACK * high
    return max(0.0, log((low + slack) / (value + slack)), log((value + slack) / (high + slack)))


def _read_range(values: Mapping[str, Any]) -> ClassRange:
    (low_ml, high_ml), (fewest, most) = values["volume_ml"], values["components"]
    numbers = tuple(float(each) for each in (low_ml, high_ml, fewest, most, values["present"]))
    if not all(isfinite(each) and each >= 0 for each in numbers) or not (numbers[1] > 0 and numbers[3] > 0):
        raise ValueError(f"a range {numbers}")
    return ClassRange(numbers[:2], numbers[2:4], numbers[4])
