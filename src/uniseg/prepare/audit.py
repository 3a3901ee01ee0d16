"""Every finding about the raw cases, before anything is written."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from uniseg.errors import InputError
from uniseg.prepare.dataset import Dataset
from uniseg.prepare.splits import patients_on_two_sides
from uniseg.scans.source import remarks
from uniseg.scans.split_file import SIDES

SHOWN = 200  # rows of the table
EXTENT_RATIO = 2.0  # of the median volumes of one class name in two tasks, above which they hardly mean the same


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong; ``fatal`` ones refuse the data, the others are for a person to judge."""

    task: str
    case_id: str
    where: str
    found: str
    expected: str
    fix: str
    fatal: bool

    @classmethod
    def of(cls, task: str, case_id: str, error: InputError) -> "Finding":
        return cls(task, case_id, error.where, error.found, error.expected, error.fix, fatal=True)


def judge(datasets: Sequence[Dataset]) -> list[Finding]:
    """What single cases cannot show: over the cases of a task, then over tasks."""
    within = [finding for dataset in datasets for finding in _within(dataset)]
    return [*within, *_patients_on_two_sides(datasets), *_scans_on_two_sides(datasets), *_extents(datasets)]


def findings_table(findings: Sequence[Finding]) -> Table:
    """Errors first."""
    ranked = sorted(findings, key=lambda finding: not finding.fatal)
    table = Table("", "task", "case", "where", "found", "expected", "what to do", title=f"{len(findings)} findings" if len(findings) > 1 else "1 finding")
    for f in ranked[:SHOWN]:
        table.add_row("error" if f.fatal else "note", f.task, f.case_id, f.where, f.found, f.expected, f.fix)
    if len(ranked) > SHOWN:
        table.caption = f"{len(ranked) - SHOWN} more are not shown"
    return table


def _within(dataset: Dataset) -> Iterator[Finding]:
    task, name = dataset.task, dataset.task.name
    for where, found, expected in remarks(dataset.source, list(dataset.cases.values())):
        yield Finding(name, "-", str(where), found, expected, "complete the folder, or correct the description", fatal=False)
    for case_id, fingerprint in dataset.fingerprints.items():
        case = dataset.cases[case_id]
        if not any(fingerprint.class_ml) and not case.absent:
            yield Finding(name, case_id, str(case.label_path), "no foreground", "a target", "list the case in source.absent if it has none", fatal=False)
    training = [f for case_id, f in dataset.fingerprints.items() if case_id not in dataset.splits.test]
    for k, class_name in enumerate(task.classes[1:]):
        if training and not any(fingerprint.class_ml[k] for fingerprint in training):
            found = f"class '{class_name}' in none of {len(training)} training cases"
            yield Finding(name, "-", f"task '{name}'", found, "at least one", "correct the classes or source.label_map", fatal=False)
    noted: dict[str, list[str]] = defaultdict(list)
    for case_id, fingerprint in dataset.fingerprints.items():
        for note in fingerprint.notes:
            noted[note].append(case_id)
    for note, ids in noted.items():
        found, where = f"{note}, in {len(ids)} of {len(dataset.fingerprints)} cases", str(dataset.cases[ids[0]].files[0])
        expected, fix = "a header that leaves no doubt", "look whether image and label fit in a viewer"
        yield Finding(name, ids[0], where, found, expected, fix, fatal=False)
    lost = [case_id for case_id, fingerprint in dataset.fingerprints.items() if not fingerprint.placed]
    if lost:
        found = f"1 mm voxels at the origin in {len(lost)} of {len(dataset.fingerprints)} cases"
        yield Finding(name, lost[0], str(dataset.cases[lost[0]].files[0]), found, "true spacing", "restore the headers if they were lost", fatal=False)


def _patients_on_two_sides(datasets: Sequence[Dataset]) -> Iterator[Finding]:
    tables = {dataset.task.name: dataset.splits for dataset in datasets}
    for found in patients_on_two_sides(tables, fold=0):
        yield Finding("-", "-", "splits", found, "one side per patient", "correct source.splits", fatal=True)


def _scans_on_two_sides(datasets: Sequence[Dataset]) -> Iterator[Finding]:
    seen: dict[str, tuple[str, str, str]] = {}
    for dataset in datasets:
        name = dataset.task.name
        split = dataset.splits.fold(name, 0)
        sides = {case_id: side for side in SIDES for case_id in split[side]}
        for case_id, fingerprint in dataset.fingerprints.items():
            task, other, side = seen.setdefault(fingerprint.image_hash, (name, case_id, sides[case_id]))
            if (task, other) == (name, case_id):
                continue
            path = str(dataset.cases[case_id].files[0])
            found = f"the voxels of '{other}' of '{task}' ({side}), here for {sides[case_id]}"
            if side != sides[case_id]:
                yield Finding(name, case_id, path, found, "one scan on one side", "give both one patient, or take one out", fatal=True)
            elif task == name:
                yield Finding(name, case_id, path, found, "each scan once in a task", "take one out", fatal=False)


def _ml(volumes: Sequence[float]) -> str:
    median = float(np.median(volumes))
    return f"{median:.0f} ml" if median >= 100 else f"{median:.2g} ml"


def _extents(datasets: Sequence[Dataset]) -> Iterator[Finding]:
    volumes: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for dataset in datasets:
        for k, class_name in enumerate(dataset.task.classes[1:]):
            known = [f.class_ml[k] for f in dataset.fingerprints.values() if f.class_ml[k]]
            if known:
                volumes[class_name][dataset.task.name] = known
    for class_name, by_task in volumes.items():
        first, *others = by_task
        for other in others:
            a, b = by_task[first], by_task[other]
            apart = min(a) > max(b) or min(b) > max(a)
            if apart and max(np.median(a), np.median(b)) > EXTENT_RATIO * min(np.median(a), np.median(b)):
                found = f"class '{class_name}': median {_ml(b)}, but {_ml(a)} in '{first}'"
                yield Finding(other, "-", f"task '{other}'", found, "one name for one extent", "give the two targets different class names", fatal=False)
