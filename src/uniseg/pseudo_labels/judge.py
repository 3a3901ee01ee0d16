"""Whether a teacher's label map of one case is accepted: its confidence, its shape, the dataset's own labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from uniseg.metrics.lesions import TOUCHING
from uniseg.metrics.surface import bounding_box
from uniseg.pseudo_labels.settings import CompletionSettings
from uniseg.task import Task

SPECK = 0.01  # of a class's volume, below which a component is not counted
SURE = 255  # confidence of 1


@dataclass(frozen=True)
class Shape:
    """Of one class in one case.

    Examples:
        >>> Shape(12.5, 1).num_components
        1
    """

    volume_ml: float
    num_components: int


@dataclass(frozen=True)
class ShapeRange:
    """Of one class over the labelled training cases.

    Examples:
        >>> range_of([Shape(10, 1), Shape(20, 2)])
        ShapeRange(least_ml=10, most_ml=20, most_components=2)
    """

    least_ml: float
    most_ml: float
    most_components: int


@dataclass(frozen=True)
class Judgement:
    """Of one case.

    Attributes:
        reasons: why it is refused; empty: it is accepted.
        classes: by class what was measured: volume_ml, num_components, confidence, overlap.

    Examples:
        >>> Judgement((), {}).accepted
        True
    """

    reasons: tuple[str, ...]
    classes: Mapping[str, Mapping[str, float]]

    @property
    def accepted(self) -> bool:
        return not self.reasons


def measure_shape(mask: np.ndarray, voxel_ml: float) -> Shape:
    """Of a class, ``mask [Z,Y,X]``."""
    count = int(mask.sum())
    if not count:
        return Shape(0.0, 0)
    numbers, _ = ndimage.label(mask[bounding_box(mask)], TOUCHING)
    sizes = np.bincount(numbers.ravel())[1:]
    return Shape(count * voxel_ml, int((sizes >= SPECK * count).sum()))


def measure_shapes(label: np.ndarray, task: Task, voxel_ml: float) -> dict[str, Shape]:
    """By class, of a label map ``[Z,Y,X]``."""
    named = zip(task.classes[1:], task.class_values, strict=True)
    return {name: measure_shape(np.isin(label, values), voxel_ml) for name, values in named}


def range_of(shapes: Iterable[Shape]) -> ShapeRange:
    """What the shapes of one class span."""
    listed = list(shapes)
    volumes = [shape.volume_ml for shape in listed]
    return ShapeRange(min(volumes), max(volumes), max(shape.num_components for shape in listed))


def judge(
    label: np.ndarray,
    confidence: np.ndarray,
    labelled: np.ndarray,
    task: Task,
    voxel_ml: float,
    ranges: Mapping[str, ShapeRange],
    settings: CompletionSettings,
) -> Judgement:
    """
    Args:
        label: the teacher's label values ``[Z,Y,X]``.
        confidence: their probability times 255.
        labelled: where the dataset labels a structure itself.
        ranges: by class; empty: shapes are not judged.
    """
    reasons, measured = [], {}
    for name, values in zip(task.classes[1:], task.class_values, strict=True):
        mask = np.isin(label, values)
        shape = measure_shape(mask, voxel_ml)
        facts = {"volume_ml": shape.volume_ml, "num_components": shape.num_components}
        if shape.num_components:
            facts["confidence"] = float(confidence[mask].mean()) / SURE
            facts["overlap"] = float(labelled[mask].mean())
        measured[name] = facts
        reasons += [f"{name}: {reason}" for reason in _reasons(shape, facts, ranges.get(name), settings)]
    if not (label > 0).any():
        reasons = ["nothing found"]
    return Judgement(tuple(reasons), measured)


def _reasons(
    shape: Shape, facts: Mapping[str, float], known: ShapeRange | None, settings: CompletionSettings
) -> list[str]:
    reasons = []
    if known is not None:
        low, high = known.least_ml / (1 + settings.volume_slack), known.most_ml * (1 + settings.volume_slack)
        if not low <= shape.volume_ml <= high:
            reasons.append(f"{shape.volume_ml:.3g} ml, expected {low:.3g} to {high:.3g}")
    most = settings.most_components or (known and known.most_components)
    if most and shape.num_components > most:
        reasons.append(f"{shape.num_components} components, expected at most {most}")
    if facts.get("confidence", 1) < settings.least_confidence:
        reasons.append(f"confidence {facts['confidence']:.3f}, expected at least {settings.least_confidence:g}")
    if facts.get("overlap", 0) > settings.most_overlap:
        reasons.append(f"{facts['overlap']:.0%} on labelled structures, expected at most {settings.most_overlap:.0%}")
    return reasons


def without_labelled(label: np.ndarray, labelled: np.ndarray, ignored: int) -> np.ndarray:
    """``label`` with ``ignored`` where it would claim a voxel that the dataset labels itself."""
    return np.where(labelled & (label > 0), ignored, label)


def ranges_of(shapes: Sequence[Mapping[str, Shape]]) -> dict[str, ShapeRange]:
    """By class, of the labelled cases; empty where there is none."""
    return {name: range_of(case[name] for case in shapes) for name in shapes[0]} if shapes else {}
