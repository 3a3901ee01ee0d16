"""One mask file per class -> one label map."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from uniseg.datasets.layouts.base import LayoutCase
from uniseg.datasets.source import ABSENT, REFUSE, Source
from uniseg.errors import InputError
from uniseg.images.files import read_geometry, read_label
from uniseg.task import Task

OVERLAP = "masks overlap: "  # the beginning of a note
MOST_NAMED = 8

# Of each foreground class, in the task's order, its files; none where the scan has no such class.
ClassMasks = tuple[tuple[Path, ...], ...]


def names_of(source: Source, classes: Sequence[str]) -> list[tuple[str, ...]]:
    """The masks of each foreground class: those of ``source.masks``, or the one that is called as the class.

    Raises:
        InputError: ``source.masks`` names another class, or the source holds what means nothing here.
    """
    wrong = [name for name in source.masks if name not in classes[1:]]
    if wrong:
        expected = f"classes of the task: {', '.join(classes[1 : 1 + MOST_NAMED])}"
        raise InputError("source.masks", f"'{wrong[0]}'", expected, "correct the task file")
    if source.label_map or source.ignore is not None:
        found = f"{'label_map' if source.label_map else 'ignore'} beside one mask per class"
        raise InputError("source", found, "none, as a mask has no label values", "take it out of the task file")
    return [tuple(source.masks.get(name, (name,))) for name in classes[1:]]


def choose_masks(source: Source, classes: Sequence[str], listed: Sequence[LayoutCase]) -> dict[str, ClassMasks]:
    """Case id -> the files of the task's classes, of the cases that their layout lists with masks.

    Raises:
        InputError: as ``names_of``; no case has a mask of that name, or one lacks it where the source does not allow
            that.
    """
    cases = [case for case in listed if case.masks is not None]
    if not cases:
        if source.masks:
            found = f"masks with layout '{source.layout}'"
            raise InputError("source", found, "a layout of one mask per class", "take it out of the task file")
        return {}
    wanted = names_of(source, classes)
    present = set[str]().union(*(case.masks or () for case in cases))
    for name in (name for names in wanted for name in names):
        if name not in present:
            near = get_close_matches(name, present, n=1)
            fix = f"did you mean {near[0]}?" if near else "correct classes or source.masks"
            raise InputError(source.root, f"no mask '{name}' in {len(cases)} cases", "one per class", fix)
    if source.missing_masks == REFUSE:
        _require_all(source, cases, [name for names in wanted for name in names])
    return {case.case_id: tuple(_files(case.masks or {}, names) for names in wanted) for case in cases}


def merge_masks(task: Task, source: Source, masks: ClassMasks, reference: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Label values of the task ``[Z,Y,X]`` int16 on the grid of an image, with notes on masks that overlap.

    A voxel of two classes is that of the later one in the task, as TotalSegmentator combines them, or refused.

    Raises:
        InputError: classes of the task that overlap, a mask that cannot be read, holds several values, lies on another
            grid, or overlaps another where ``source.overlapping_masks`` refuses that.
    """
    if task.regions:
        fix = "give classes that exclude each other, or one label map per case"
        raise InputError(f"task '{task.name}'", "regions beside one mask per class", "no regions", fix)
    label = np.zeros(read_geometry(reference).array.shape[1:], np.int16)
    notes: dict[str, None] = {}  # as an ordered set
    for value, paths in enumerate(masks, start=1):
        for path in paths:
            inside = _read_mask(path, reference)
            for other, number in _others(label[inside], value):
                pair = f"'{task.classes[other]}' and '{task.classes[value]}'"
                if source.overlapping_masks == REFUSE:
                    fix = "correct the masks, or set source.overlapping_masks=later: the later class wins"
                    found = f"{number} voxels that {pair} both claim"
                    raise InputError(path, found, "masks that exclude each other", fix)
                notes[f"{OVERLAP}what {pair} both claim is '{task.classes[value]}', the later class"] = None
            label[inside] = value
    return label, tuple(notes)


def _require_all(source: Source, cases: Iterable[LayoutCase], names: Sequence[str]) -> None:
    missing = [(case, name) for case in cases for name in names if name not in (case.masks or ())]
    if missing:
        case, name = missing[0]
        found = f"no mask '{name}' of case '{case.case_id}' ({len(missing)} missing in {source.root})"
        fix = f"restore it, or set source.missing_masks={ABSENT} where that says that the scan has no such class"
        raise InputError(case.label_path or source.root, found, "a mask of every class", fix)


def _files(masks: Mapping[str, Path], names: Sequence[str]) -> tuple[Path, ...]:
    return tuple(masks[name] for name in names if name in masks)


def _others(values: np.ndarray, value: int) -> list[tuple[int, int]]:
    """(label value, voxels) of the other classes among ``values``."""
    counts = np.bincount(values)
    return [(other, int(n)) for other, n in enumerate(counts) if n and other not in (0, value)]


def _read_mask(path: Path, reference: Path) -> np.ndarray:
    values = read_label(path, [reference])
    inside = values != 0
    if inside.any() and values[inside].min() != values[inside].max():
        found = f"values {np.unique(values)[:MOST_NAMED].tolist()}"
        raise InputError(path, found, "one value beside 0, as of a mask", "give one mask per class")
    return inside
