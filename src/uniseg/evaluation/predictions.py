"""A label map of ours, or of another tool, as label values of its task."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from uniseg.datasets.case import Case
from uniseg.datasets.labels import load_label
from uniseg.datasets.source import Source
from uniseg.errors import InputError
from uniseg.inference.outputs import json_path, read_prediction_json
from uniseg.task import Task

TASK_VALUES, FILE_VALUES = "task", "file"  # whose label values a prediction holds
FIX = "correct the prediction, source.label_map, or predictions_use, which says whose values it holds"


def load_prediction(
    task: Task, source: Source, case: Case, prediction: Path, values: str | None = TASK_VALUES
) -> np.ndarray:
    """``[Z,Y,X]`` int16 label values of the task, on the grid of the case.

    Args:
        values: ``task``: the file holds them as they are, as ours do; ``file``: it holds those of the label files,
            which ``source.label_map`` translates, as a tool that was trained on these files does. None: the task's
            beside a JSON of ours, else either where no value means two things.

    Raises:
        InputError: the file cannot be read, lies on another grid, or holds a value of no class or, without ``values``,
            of one class as the task's and of another as the label files'.
    """
    label_map: Mapping[int, int] = {value: value for class_values in task.class_values for value in class_values}
    if values is None and read_prediction_json(json_path(prediction)) is None:
        ambiguous = [value for value, target in source.label_map.items() if label_map.get(value, target) != target]
        if ambiguous:
            found = f"label values of another tool, where {ambiguous[0]} may be the task's or that of the label files"
            fix = f"say which: predictions_use={TASK_VALUES} or {FILE_VALUES}"
            raise InputError(prediction, found, "to know whose values they are", fix)
        label_map = {**label_map, **source.label_map}
    elif values == FILE_VALUES:
        label_map = dict(source.label_map)
    predicted = replace(case, label_path=prediction, absent=False, masks=())
    return load_label(task, replace(source, label_map=label_map, ignore=None), predicted, FIX)
