"""Every finding about the raw cases, before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from uniseg.errors import InputError
from uniseg.scans.case import Case
from uniseg.scans.io import read_label, read_volume
from uniseg.scans.volume import Volume
from uniseg.task import Task


@dataclass(frozen=True)
class Finding:
    """One thing wrong with one case."""

    task: str
    case_id: str
    message: str


def load_case(task: Task, label_map: Mapping[int, int], case: Case) -> tuple[Volume, np.ndarray]:
    """Image with label ``[Z,Y,X]`` in class indices.

    Raises:
        InputError: anything that would make the case useless for training.
    """
    volume = read_volume(case.image_paths)
    if len(volume.array) != task.num_modalities:
        raise InputError(case.image_paths[0], f"{len(volume.array)} channels", f"{task.num_modalities} for {list(task.modalities)}", "correct the task")
    return volume, map_label(read_label(case.label_path, case.image_paths), task, label_map, case)


def map_label(label: np.ndarray, task: Task, label_map: Mapping[int, int], case: Case) -> np.ndarray:
    """Values in the file -> class indices; unmapped values stand for themselves.

    Raises:
        InputError: a value outside the task's classes.
    """
    mapped = label.copy()
    for value, class_index in label_map.items():
        mapped[label == value] = class_index
    wrong = [int(v) for v in np.unique(mapped) if not 0 <= v < task.num_classes]
    if wrong:
        expected = f"0 to {task.num_classes - 1} ({', '.join(task.classes)})"
        raise InputError(case.label_path, f"label values {wrong}", expected, "correct the label, the classes or source.label_map")
    return mapped
