"""Which voxels the tasks' scans have, which they should have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import track

from uniseg.datasets.dataset import Dataset
from uniseg.images.files import read_geometry, reference_path
from uniseg.preprocessing.resample import target_shape
from uniseg.task import Task


@dataclass(frozen=True)
class TaskGeometry:
    """The scans of one task that are not for test.

    Attributes:
        case_ids: N.
        num_patients: who they are of.
        shapes: ``[N,3]`` voxels (Z, Y, X), before cropping.
        spacings_mm: ``[N,3]`` (z, y, x).

    Examples:
        >>> from uniseg.task import Normalization
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> geometry = TaskGeometry(liver, ("a",), 1, np.array([[40, 512, 512]]), np.array([[5, 0.8, 0.8]]))
        >>> geometry.at((2.5, 1.6, 1.6)).tolist()
        [[80, 256, 256]]
    """

    task: Task
    case_ids: tuple[str, ...]
    num_patients: int
    shapes: np.ndarray
    spacings_mm: np.ndarray

    def at(self, spacing_mm: Sequence[float]) -> np.ndarray:
        """``[N,3]`` shapes after resampling."""
        return np.array(
            [
                target_shape(shape, spacing, spacing_mm)
                for shape, spacing in zip(self.shapes.tolist(), self.spacings_mm.tolist(), strict=True)
            ]
        )


def read_geometries(datasets: Sequence[Dataset], num_workers: int) -> list[TaskGeometry]:
    """Of all cases but those for test.

    Raises:
        InputError: an unreadable header.
    """
    cases = [[d.cases[case_id] for case_id in d.kept] for d in datasets]
    jobs = [
        reference_path(case.image_paths, d.task.reference_position)
        for d, in_dataset in zip(datasets, cases, strict=True)
        for case in in_dataset
    ]
    read = Parallel(n_jobs=num_workers, prefer="threads", return_as="generator")(
        delayed(_header)(path) for path in jobs
    )
    headers = iter(list(track(read, "read headers", total=len(jobs), console=Console(stderr=True))))
    geometries = []
    for dataset, in_dataset in zip(datasets, cases, strict=True):
        shapes, spacings = zip(*(next(headers) for _ in in_dataset), strict=True)
        ids, patients = tuple(case.case_id for case in in_dataset), len({case.patient_id for case in in_dataset})
        geometries.append(TaskGeometry(dataset.task, ids, patients, np.array(shapes), np.array(spacings)))
    return geometries


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value with half of the weight on either side; between two such, their mean."""
    order = np.argsort(values)
    values, cumulative = values[order], np.cumsum(weights[order]) / weights.sum()
    low, high = np.searchsorted(cumulative, 0.5 - 1e-9), np.searchsorted(cumulative, 0.5 + 1e-9)
    return float(values[low] + values[min(high, len(values) - 1)]) / 2


def share_spacings(tasks: Sequence[Task], within: float) -> list[Task]:
    """The tasks with one spacing per group of ``window_groups``, the coarsest of the group per axis."""
    coarsest = {task.name: _extremes(group)[1] for group in window_groups(tasks, within) for task in group}
    return [replace(task, spacing_mm=coarsest[task.name]) for task in tasks]


def window_groups(tasks: Sequence[Task], within: float = 1.0) -> list[list[Task]]:
    """Tasks whose spacings differ by no more than the factor ``within`` along any axis and that read the same input.

    The same input is the same modalities with the same normalisation, none of them measured on a task's own foreground.
    At one spacing a group's windows are computed once at prediction. Coarse tasks open groups, finer ones join the
    first that takes them.
    """
    groups: list[list[Task]] = []
    for task in sorted(tasks, key=lambda t: -float(np.prod(t.spacing_mm))):
        group = next((g for g in groups if _fits(task, g, within)), None)
        if group is None:
            groups.append([task])
        else:
            group.append(task)
    return groups


def _fits(task: Task, group: Sequence[Task], within: float) -> bool:
    first = group[0]
    differs = any(not how.is_shared for how in task.normalization)
    if differs or (task.modalities, task.normalization) != (first.modalities, first.normalization):
        return False
    finest, coarsest = _extremes([*group, task])
    return all(c <= f * within for f, c in zip(finest, coarsest, strict=True))


def _extremes(group: Sequence[Task]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    axes = list(zip(*(task.spacing_mm for task in group), strict=True))
    return tuple(min(axis) for axis in axes), tuple(max(axis) for axis in axes)


def _header(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    volume = read_geometry(path)
    return volume.array.shape[1:], volume.spacing_mm
