"""Label maps of several tasks as one, with a table of what its values mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniseg.files import write_text
from uniseg.images.segments import Segment, distinct_colour
from uniseg.inference.outputs import ITK_SNAP, SLICER, SLICER_HEAD, SNAP_HEAD
from uniseg.inference.restore import CompressedSegmentation
from uniseg.task import Task
from uniseg.terminology import UNKNOWN, ClassCodes

PLANES = 16  # decompressed at a time


@dataclass(frozen=True)
class MergedValue:
    """One value of the merged map: label value ``task_value`` of ``task``.

    Attributes:
        name: of the task with the class; of a value that several regions hold, all of them.
        colour: red, green, blue, 0 to 255.

    Examples:
        >>> MergedValue(3, "spleen", 1, "spleen_spleen", (230, 200, 80)).name
        'spleen_spleen'
    """

    value: int
    task: str
    task_value: int
    name: str
    colour: tuple[int, int, int]
    codes: ClassCodes = UNKNOWN

    def segment(self) -> Segment:
        return Segment(self.name, (self.value,), self.colour, self.codes)


def merged_values(tasks: Sequence[Task]) -> list[MergedValue]:
    """1, 2, ... over the label values of all tasks in their order."""
    pairs = [(task, value) for task in tasks for value in range(1, task.num_labels)]
    return [
        MergedValue(
            i, task.name, value, f"{task.name}_{_class_of(task, value)}", distinct_colour(i), _codes_of(task, value)
        )
        for i, (task, value) in enumerate(pairs, 1)
    ]


def merge(segmentations: Mapping[str, CompressedSegmentation], values: Sequence[MergedValue]) -> np.ndarray:
    """``[Z,Y,X]`` int16; where several tasks claim a voxel, the most probable label holds, of equals the earlier
    task's.

    Args:
        segmentations: of each task, with confidence, all of one grid.
    """
    shape = next(iter(segmentations.values())).label.shape
    numbers = {name: _numbers([v for v in values if v.task == name]) for name in segmentations}
    merged = np.zeros(shape, np.int16)
    for low in range(0, shape[0], PLANES):
        planes = slice(low, low + PLANES)
        slab = merged[planes]
        best = np.zeros(slab.shape, np.uint8)
        for name, segmentation in segmentations.items():
            label, confidence = segmentation.label[planes], segmentation.confidence[planes]
            wins = (label > 0) & ((slab == 0) | (confidence > best))
            slab[wins] = numbers[name][label[wins]]
            best[wins] = confidence[wins]
    return merged


def _numbers(values: Sequence[MergedValue]) -> np.ndarray:
    """A task's label value -> merged value."""
    numbers = np.zeros(1 + max(v.task_value for v in values), np.int16)
    for each in values:
        numbers[each.task_value] = each.value
    return numbers


def write_tables(values: Sequence[MergedValue], folder: Path) -> None:
    """Colour tables that 3D Slicer and ITK-SNAP load."""
    slicer = [
        SLICER_HEAD,
        "0 background 0 0 0 0",
        *(f"{v.value} {_word(v.name)} {' '.join(map(str, v.colour))} 255" for v in values),
    ]
    snap = [
        SNAP_HEAD,
        '0 0 0 0 0 0 0 "Clear Label"',
        *(f'{v.value} {" ".join(map(str, v.colour))} 1 1 1 "{_word(v.name)}"' for v in values),
    ]
    for name, lines in ((SLICER, slicer), (ITK_SNAP, snap)):
        write_text(folder / name, "\n".join(lines) + "\n")


def _word(name: str) -> str:
    """Without what would end a cell."""
    return "_".join(name.replace('"', "'").split())


def _class_of(task: Task, value: int) -> str:
    names = [name for name, values in zip(task.classes[1:], task.class_values, strict=True) if value in values]
    return "+".join(names) or str(value)


def _codes_of(task: Task, value: int) -> ClassCodes:
    """Of the smallest of the classes that hold the value."""
    owners = [
        (len(values), codes) for values, codes in zip(task.class_values, task.codes, strict=False) if value in values
    ]
    return min(owners, key=lambda owner: owner[0], default=(0, None))[1] or UNKNOWN
