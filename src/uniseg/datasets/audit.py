"""Every finding about the raw cases, before anything is written."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from rich.markup import escape
from rich.table import Table

from uniseg.datasets.case import dataset_warnings
from uniseg.datasets.dataset import Dataset
from uniseg.datasets.masks import OVERLAP
from uniseg.datasets.splits import SplitTable, patients_in_two_splits, repeated_scans
from uniseg.errors import InputError, printable
from uniseg.preprocessing.modality import kind_of
from uniseg.task import Task

SHOWN = 200  # rows of the table
EXTENT_RATIO = 2.0  # of the median volumes of one class name in two tasks, above which they hardly mean the same


@dataclass(frozen=True)
class AuditFinding:
    """One thing that is wrong; ``fatal`` ones refuse the data, the others are for a person to judge.

    Examples:
        >>> error = InputError("ct.nii.gz", "an empty file", "a scan", "restore it")
        >>> AuditFinding.of("liver", "case_1", error).fatal
        True
    """

    task: str
    case_id: str
    where: str
    found: str
    expected: str
    fix: str
    fatal: bool

    @classmethod
    def of(cls, task: str, case_id: str, error: InputError) -> "AuditFinding":
        return cls(task, case_id, error.where, error.found, error.expected, error.fix, fatal=True)


class PreparedTask(Protocol):
    """A task of the cache, as ``cache.store.TaskCache`` reads it.

    Examples:
        >>> def hash_of(prepared: PreparedTask, case_id: str) -> str:
        ...     return prepared.image_hashes[case_id]
    """

    task: Task
    splits: SplitTable
    image_hashes: Mapping[str, str]


def check_datasets(datasets: Sequence[Dataset], prepared: Sequence[PreparedTask] = ()) -> list[AuditFinding]:
    """What single cases cannot show: over the cases of a task, then over tasks.

    Args:
        prepared: other tasks that lie in the same cache, with which these may be trained one day.
    """
    within = [finding for dataset in datasets for finding in _within(dataset)]
    over = [
        _patients_in_two_splits(datasets),
        _scans_in_two_splits(datasets, prepared),
        _namesakes(datasets),
        _extents(datasets),
    ]
    return [*within, *(finding for findings in over for finding in findings)]


def findings_table(findings: Sequence[AuditFinding]) -> Table:
    """Errors first."""
    ranked = sorted(findings, key=lambda finding: not finding.fatal)
    table = Table(
        "",
        "task",
        "case",
        "where",
        "found",
        "expected",
        "what to do",
        title=f"{len(findings)} findings" if len(findings) > 1 else "1 finding",
    )
    for f in ranked[:SHOWN]:
        cells = (f.task, f.case_id, f.where, f.found, f.expected, f.fix)
        table.add_row("error" if f.fatal else "note", *(escape(printable(cell)) for cell in cells))
    if len(ranked) > SHOWN:
        table.caption = f"{len(ranked) - SHOWN} more are not shown"
    return table


def _within(dataset: Dataset) -> Iterator[AuditFinding]:
    task, name = dataset.task, dataset.task.name
    warnings = () if task.is_pretext else dataset_warnings(dataset.source, list(dataset.cases.values()))
    for where, found, expected in warnings:
        yield AuditFinding(
            name, "-", str(where), found, expected, "complete the folder, or correct the description", fatal=False
        )
    for case_id, fingerprint in dataset.fingerprints.items():
        case = dataset.cases[case_id]
        if not any(fingerprint.class_ml) and not case.absent:
            fix = "list the case in source.absent if it has none"
            yield AuditFinding(name, case_id, str(case.label_path), "no foreground", "a target", fix, fatal=False)
    training = [f for case_id, f in dataset.fingerprints.items() if case_id not in dataset.splits.test]
    for k, class_name in enumerate(() if task.is_pretext else task.classes[1:]):
        if training and not any(fingerprint.class_ml[k] for fingerprint in training):
            found = f"class '{class_name}' in none of {len(training)} training cases"
            yield AuditFinding(
                name,
                "-",
                f"task '{name}'",
                found,
                "at least one",
                "correct the classes or source.label_map",
                fatal=False,
            )
    noted: dict[str, list[str]] = defaultdict(list)
    for case_id, fingerprint in dataset.fingerprints.items():
        for note in fingerprint.notes:
            noted[note].append(case_id)
    for note, ids in noted.items():
        found = f"{note}, in {len(ids)} of {len(dataset.fingerprints)} cases"
        file = str(dataset.cases[ids[0]].files[0])
        is_header = not note.startswith(OVERLAP)
        expected = "a header that leaves no doubt" if is_header else "masks that exclude each other"
        fix = "look whether image and label fit in a viewer" if is_header else "look which class should have the voxels"
        yield AuditFinding(name, ids[0], file, found, expected, fix, fatal=False)
    lost = [case_id for case_id, fingerprint in dataset.fingerprints.items() if not fingerprint.placed]
    if lost:
        found = f"1 mm voxels at the origin in {len(lost)} of {len(dataset.fingerprints)} cases"
        yield AuditFinding(
            name,
            lost[0],
            str(dataset.cases[lost[0]].files[0]),
            found,
            "true spacing",
            "restore the headers if they were lost",
            fatal=False,
        )
    yield from _foreign_kinds(dataset)


def _foreign_kinds(dataset: Dataset) -> Iterator[AuditFinding]:
    """MR among CT, for instance: one note per modality and kind."""
    for m, modality in enumerate(dataset.task.modalities):
        kinds: dict[str, list[str]] = defaultdict(list)
        for case_id, fingerprint in dataset.fingerprints.items():
            if fingerprint.kinds and fingerprint.kinds[m]:
                kinds[fingerprint.kinds[m]].append(case_id)
        for kind, case_ids in kinds.items():
            first = dataset.cases[case_ids[0]]
            number = f"{len(case_ids)} of {len(dataset.fingerprints)} cases"
            found = f"values as of {kind} in {number} ({', '.join(case_ids[:5])})"
            expected, fix = (
                f"{kind_of(modality)}, as modality '{modality}' is",
                "take them out, or correct the task's modalities",
            )
            yield AuditFinding(dataset.task.name, case_ids[0], str(first.files[0]), found, expected, fix, fatal=False)


def _patients_in_two_splits(datasets: Sequence[Dataset]) -> Iterator[AuditFinding]:
    tables = {dataset.task.name: dataset.splits for dataset in datasets}
    for found in patients_in_two_splits(tables, fold=0):
        yield AuditFinding("-", "-", "splits", found, "one split per patient", "correct source.splits", fatal=True)


def _namesakes(datasets: Sequence[Dataset]) -> Iterator[AuditFinding]:
    """Two folders of one name, whose cases of one name would be one patient."""
    first: dict[str, Dataset] = {}
    for dataset in datasets:
        source, name = dataset.source, dataset.task.name
        other = first.setdefault(source.root.name, dataset)
        is_stated = source.patient_namespace or other.source.patient_namespace
        if is_stated or source.root.absolute() == other.source.root.absolute():
            continue
        shared = sorted(set(dataset.splits.patients.values()) & set(other.splits.patients.values()))
        hashes = {fingerprint.image_hash for fingerprint in other.fingerprints.values()}
        if shared and not any(fingerprint.image_hash in hashes for fingerprint in dataset.fingerprints.values()):
            found = (
                f"{len(shared)} patients called as those of '{other.task.name}' in {other.source.root} ('{shared[0]}')"
            )
            fix = "set source.patient_namespace if they are others"
            yield AuditFinding(name, "-", str(source.root), found, "one name per patient", fix, fatal=False)


def _scans_in_two_splits(datasets: Sequence[Dataset], prepared: Sequence[PreparedTask]) -> Iterator[AuditFinding]:
    known = {dataset.task.name: dataset for dataset in datasets}
    tables = {name: dataset.splits for name, dataset in known.items()}
    hashes = {name: {case_id: each.image_hash for case_id, each in d.fingerprints.items()} for name, d in known.items()}
    for scan in repeated_scans(tables, hashes, fold=0):
        path = str(known[scan.task].cases[scan.case_id].files[0])
        if scan.split != scan.first_split:
            fix = "give both one patient, or take one out"
            yield AuditFinding(scan.task, scan.case_id, path, str(scan), "each scan in one split", fix, fatal=True)
        elif scan.task == scan.first_task:
            yield AuditFinding(
                scan.task, scan.case_id, path, str(scan), "each scan once in a task", "take one out", fatal=False
            )
    others = {cache.task.name: cache for cache in prepared if cache.task.name not in known}
    tables = {name: cache.splits for name, cache in others.items()} | tables
    hashes = {name: cache.image_hashes for name, cache in others.items()} | hashes  # type: ignore[assignment]
    for scan in repeated_scans(tables, hashes, fold=0):
        if scan.task in known and scan.first_task in others and scan.split != scan.first_split:
            path = str(known[scan.task].cases[scan.case_id].files[0])
            fix = "do not train the two tasks together"
            yield AuditFinding(scan.task, scan.case_id, path, str(scan), "each scan in one split", fix, fatal=False)


def _ml(volumes: Sequence[float]) -> str:
    median = float(np.median(volumes))
    return f"{median:.0f} ml" if median >= 100 else f"{median:.2g} ml"


def _extents(datasets: Sequence[Dataset]) -> Iterator[AuditFinding]:
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
                yield AuditFinding(
                    other,
                    "-",
                    f"task '{other}'",
                    found,
                    "one name for one extent",
                    "give the two targets different class names",
                    fatal=False,
                )
