"""One case in memory: image with label, in the task's own label values."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from uniseg.datasets.case import Case
from uniseg.datasets.masks import merge_masks
from uniseg.datasets.source import Source
from uniseg.errors import InputError
from uniseg.images.files import read_geometry, read_label, read_volume, reference_path
from uniseg.images.volume import Volume
from uniseg.task import IGNORE, Task

FIX = "correct the label, the classes, source.label_map or source.ignore"


def load_case(task: Task, source: Source, case: Case) -> tuple[Volume, np.ndarray]:
    """Image with label ``[Z,Y,X]`` int16, -1 where a voxel is not to be counted.

    Raises:
        InputError: anything that would make the case useless for training.
    """
    volume = read_volume(case.image_paths, task.reference_position)
    if len(volume.array) != task.num_modalities:
        found, expected = f"{len(volume.array)} channels", f"{task.num_modalities} for {list(task.modalities)}"
        raise InputError(case.files[0], found, expected, "correct the task")
    label, notes = _read(task, source, case, FIX)
    return replace(volume, notes=(*volume.notes, *notes)), label


def load_label(task: Task, source: Source, case: Case, fix: str = FIX) -> np.ndarray:
    """``[Z,Y,X]`` int16 on the grid of the case's reference image; all background where the target is known to be
    absent.

    Args:
        fix: what to do about a value that the task does not know.

    Raises:
        InputError: as ``read_label`` and ``merge_masks``, a value that the task does not know, or a target where none
            is known to be.
    """
    return _read(task, source, case, fix)[0]


def _read(task: Task, source: Source, case: Case, fix: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """As ``load_label``, with notes on what is doubtful."""
    reference = reference_image(task, case)
    notes: tuple[str, ...] = ()
    if case.label_path is None:
        return np.zeros(read_geometry(reference).array.shape[1:], np.int16), notes
    if case.masks:
        label, notes = merge_masks(task, source, case.masks, reference)
    else:
        label = _map_values(read_label(case.label_path, [reference]), task, source, case, fix)
    if case.absent and (label > 0).any():
        found = f"{np.count_nonzero(label > 0)} voxels of a target"
        expected = f"none, since source.absent lists '{case.case_id}'"
        raise InputError(case.label_path, found, expected, "take the case out of source.absent")
    return label, notes


def reference_image(task: Task, case: Case) -> Path:
    """The image on whose grid the case is seen; the label where there is no image.

    Raises:
        InputError: the case lacks the task's reference modality.
    """
    return reference_path(case.image_paths, task.reference_position) if case.image_paths else case.label_path


def _map_values(label: np.ndarray, task: Task, source: Source, case: Case, fix: str) -> np.ndarray:
    """Values in the file -> label values of the task.

    Where there is a label_map it must name every value but 0: one that stood for itself could pass for the target of
    another.
    """
    targets = {0: 0, **source.label_map} if source.label_map else {value: value for value in range(task.num_labels)}
    if source.ignore is not None:
        targets[source.ignore] = IGNORE
    known = {value: target for value, target in targets.items() if IGNORE <= target < task.num_labels}
    values = np.unique(label)
    wrong = [int(value) for value in values if int(value) not in known]
    if wrong:
        expected = f"values {sorted(known)} for {', '.join(task.classes)}"
        raise InputError(case.label_path, f"label values {wrong}", expected, fix)
    if {known[int(value)] for value in values} == {IGNORE}:
        raise InputError(
            case.label_path,
            f"value {source.ignore} everywhere",
            "a voxel that is not ignored",
            "label one, or take the case out",
        )
    table = np.zeros(int(values[-1]) - int(values[0]) + 1, np.int16)
    for value in values:
        table[value - values[0]] = known[int(value)]
    return table[label - values[0]]
