"""A data-set file, ``conf/dataset/<name>.yaml``: what the tasks of one data set share, then the tasks."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from uniseg.errors import InputError
from uniseg.files import require_file_name

GROUP = "dataset"  # the folder of conf
BACKGROUND = "background"
TASKS, LABELS = "tasks", "labels"
# Mappings of which a task may give a part; whatever else it gives stands in place of what is shared.
MERGED = ("source", "normalization", "codes")
BY_CLASS = (("codes",), ("source", "masks"))  # shared for all classes; a task takes those of its own
FIX = "correct the file"

Block = dict[str, Any]


def task_blocks(values: object, where: str | Path) -> dict[str, Block]:
    """The block of each task, as a task file of its own would have it.

    A task is a list of its classes, or a mapping of what it has of its own; the background comes by itself. Where
    ``labels`` says which values of the label files a class has, ``source.label_map`` follows: what is of no class of
    the task is background.

    Args:
        values: of the file, as plain containers.
        where: the file, for messages.

    Raises:
        InputError: another shape, a task without classes, a class that ``labels`` does not know.

    Examples:
        >>> shared = {"source": {"layout": "nnunet", "root": "/data/abdomen"}, "labels": {"liver": 1, "spleen": 2}}
        >>> blocks = task_blocks(shared | {"tasks": {"liver": ["liver"], "spleen": ["spleen"]}}, "abdomen.yaml")
        >>> blocks["spleen"]["classes"], blocks["spleen"]["source"]["label_map"]
        (['background', 'spleen'], {1: 0, 2: 1})
    """
    tasks = values.get(TASKS) if isinstance(values, Mapping) else None
    if not isinstance(values, Mapping) or not isinstance(tasks, Mapping) or not tasks:
        expected = "tasks, a mapping from name to classes, beside what they share"
        raise InputError(where, "no tasks", expected, FIX)
    shared = {str(key): value for key, value in values.items() if key not in (TASKS, LABELS)}
    labels = _labels(values.get(LABELS), where)
    return {str(name): _block(str(name), own, shared, labels, where) for name, own in tasks.items()}


def _block(name: str, own: object, shared: Block, labels: Mapping[str, list[int]], where: str | Path) -> Block:
    require_file_name(where, "task", name)
    given = {"classes": own} if isinstance(own, Sequence) else own or {}
    classes = given.get("classes", shared.get("classes")) if isinstance(given, Mapping) else None
    if not isinstance(classes, Sequence) or isinstance(classes, str) or not classes:
        expected = "a list of classes, or a mapping of what the task has of its own, with classes unless all share them"
        raise InputError(where, f"task '{name}': {own!r:.60}", expected, FIX)
    block = _merged(shared, dict(given))
    block["classes"] = [BACKGROUND, *(each for each in classes if each != BACKGROUND)]
    for path in BY_CLASS:
        _keep_classes(block, path, block["classes"])
    if labels:
        source = dict(block.get("source") or {})
        if "label_map" not in source:
            source["label_map"] = _label_map(name, block, labels, where)
        block["source"] = source
    return block


def _merged(shared: Block, own: Block) -> Block:
    both = {key: value for key in MERGED if isinstance(value := own.get(key), Mapping)}
    return shared | own | {key: {**(shared.get(key) or {}), **value} for key, value in both.items()}


def _keep_classes(block: Block, path: tuple[str, ...], classes: Sequence[str]) -> None:
    """Of a mapping by class inside a block, what other tasks need goes."""
    *outer, last = path
    inside = block
    for key in outer:
        if not isinstance(inside.get(key), Mapping):
            return
        inside[key] = dict(inside[key])
        inside = inside[key]
    if isinstance(inside.get(last), Mapping):
        inside[last] = {name: value for name, value in inside[last].items() if name in classes}


def _labels(values: object, where: str | Path) -> dict[str, list[int]]:
    """Class -> its values in the label files."""
    if values is None:
        return {}
    listed = {
        str(name): list(each) if isinstance(each, Sequence) and not isinstance(each, str) else [each]
        for name, each in (values.items() if isinstance(values, Mapping) else ())
    }
    numbers = [number for each in listed.values() for number in each]
    if not listed or not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise InputError(where, f"{LABELS}: {values!r:.60}", "a mapping from class to its label value or values", FIX)
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise InputError(where, f"{LABELS}: value {twice} of two classes", "each value once", FIX)
    return listed


def _label_map(name: str, block: Block, labels: Mapping[str, list[int]], where: str | Path) -> dict[int, int]:
    """Every value of the label files -> label value of the task; regions keep the values that they name."""
    if block.get("regions"):
        used = {value for values in block["regions"].values() for value in values}
        return {number: number if number in used else 0 for numbers in labels.values() for number in numbers}
    unknown = [each for each in block["classes"][1:] if each not in labels]
    if unknown:
        found = f"task '{name}' with the class '{unknown[0]}'"
        raise InputError(where, found, f"one of {LABELS}: {', '.join(labels)}", FIX)
    targets = {each: value for value, each in enumerate(block["classes"])}
    return {number: targets.get(each, 0) for each, numbers in labels.items() for number in numbers}


def declared_tasks(conf: Path) -> dict[str, Path]:
    """Task -> the file in ``conf/dataset`` that declares it, in the order of the files.

    Raises:
        InputError: two files declare one name.
    """
    declared: dict[str, Path] = {}
    for path in sorted((conf / GROUP).glob("*.yaml")):
        for name in _names(path, path.stat().st_mtime_ns):
            if name in declared:
                found = f"task '{name}', which {declared[name].name} declares too"
                raise InputError(path, found, "each task in one file", "rename one")
            declared[name] = path
    return declared


@lru_cache(maxsize=256)
def _names(path: Path, _: int) -> tuple[str, ...]:
    """As far as the file can be read: what is wrong with it is said where it is chosen."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return ()
    tasks = values.get(TASKS) if isinstance(values, Mapping) else None
    return tuple(map(str, tasks)) if isinstance(tasks, Mapping) else ()
