"""What the values of a label map in a file mean: by its JSON, the checkpoint, ``dataset.json``, else numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uniseg.datasets.dataset_json import describe
from uniseg.errors import InputError, printable
from uniseg.files import MALFORMED
from uniseg.images.files import case_id_of
from uniseg.images.segments import Segment, make_segments
from uniseg.inference.outputs import json_path
from uniseg.task import Task

Named = tuple[str, tuple[Segment, ...]]


def name_segments(path: Path, label: np.ndarray, tasks: Sequence[Task] = ()) -> Named:
    """The task's name, where one is known, and a segment for every class; values that nobody names are numbers.

    Args:
        label: ``[Z,Y,X]`` as read.
        tasks: of a checkpoint.
    """
    facts = _facts(path)
    title = _title(path, facts)
    task = next((task for task in tasks if task.name == title), tasks[0] if len(tasks) == 1 else None)
    segments = _of_json(facts) or (_of_task(task) if task is not None else ()) or _of_dataset(path)
    known = {value for segment in segments for value in segment.values}
    others = [int(value) for value in np.unique(label) if value > 0 and value not in known]
    unnamed = make_segments([str(value) for value in others], [(value,) for value in others])
    return title, (*segments, *unnamed)


def _facts(path: Path) -> Mapping[str, Any]:
    """Of the JSON beside a label map of ours; empty where none is."""
    try:
        content = json.loads(json_path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _title(path: Path, facts: Mapping[str, Any]) -> str:
    """The task; of a merged map and of files of other tools the folder, or the file itself."""
    if isinstance(facts.get("task"), str):
        return printable(facts["task"])
    folder = path.resolve().parent.name
    return printable(folder if facts else case_id_of(path) or path.name)


def _of_json(facts: Mapping[str, Any]) -> tuple[Segment, ...]:
    """Classes with their values, or the rows of a merged map."""
    values = facts.get("values")
    try:
        if isinstance(values, Mapping):
            named = [(printable(name), tuple(int(value) for value in each)) for name, each in values.items()]
        else:
            named = [(printable(row["name"]), (int(row["value"]),)) for row in values or ()]
    except MALFORMED:
        return ()
    named = [(name, each) for name, each in named if each and min(each) > 0]
    return make_segments([name for name, _ in named], [each for _, each in named])


def _of_task(task: Task) -> tuple[Segment, ...]:
    return make_segments(task.classes[1:], task.class_values, task.codes)


def _of_dataset(path: Path) -> tuple[Segment, ...]:
    """Of nnU-Net's description beside the folder of the labels, where it can be read."""
    root = path.resolve().parent.parent
    if not (root / "dataset.json").is_file():
        return ()
    try:
        labels = describe(root).labels
    except InputError:
        return ()
    values_in_file = {index: value for value, index in labels.label_map.items()}
    names = labels.classes[1:]
    values = [labels.regions.get(name, (values_in_file.get(index, index),)) for index, name in enumerate(names, 1)]
    return make_segments(names, values)
