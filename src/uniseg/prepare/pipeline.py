"""Preparation of a task set: find, audit, split, measure, write."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import track
from rich.table import Table

from uniseg.errors import InputError
from uniseg.prepare import cache
from uniseg.prepare.audit import Finding, load_case
from uniseg.prepare.fingerprint import CaseFingerprint, measure, resolve
from uniseg.prepare.preprocess import crop, preprocess
from uniseg.prepare.splits import SplitTable, check_patients, split_cases
from uniseg.scans.case import Case
from uniseg.scans.resample import resample_label
from uniseg.scans.source import Source, find_cases
from uniseg.task import Task, TaskSet


@dataclass(frozen=True)
class Dataset:
    """A task with where its scans are, who is on which side."""

    task: Task
    source: Source
    cases: Mapping[str, Case]
    splits: SplitTable

    def side(self, side: str, fold: int) -> list[Case]:
        return [self.cases[case_id] for case_id in self.splits.fold(self.task.name, fold)[side]]


def find_datasets(tasks: TaskSet, sources: Mapping[str, Source]) -> list[Dataset]:
    """Cases with their sides for every task; headers and voxels are not read.

    Raises:
        InputError: as ``find_cases`` and ``split_cases``, or one patient on two sides.
    """
    found = []
    for task in tasks:
        source = sources[task.name]
        cases = {case.case_id: case for case in find_cases(source, task.modalities)}
        found.append(Dataset(task, source, cases, split_cases(task.name, list(cases.values()), source.given_split())))
    check_patients({dataset.task.name: dataset.splits for dataset in found}, fold=0)
    return found


def prepare(datasets: Sequence[Dataset], cache_dir: Path, num_workers: int) -> TaskSet:
    """Write the cache of every task: all cases but those for test. Finished cases are kept.

    Returns:
        The tasks with their normalisation resolved.

    Raises:
        InputError: a finding of the audit; a table of all findings is printed to stderr first.
    """
    jobs = [(dataset, case_id) for dataset in datasets for case_id in dataset.splits.patients]
    checked = _parallel(_check_case, jobs, num_workers, "audit")
    findings = [result for result in checked if isinstance(result, Finding)]
    if findings:
        _print_findings(findings)
        raise InputError("audit", f"{len(findings)} bad cases, first: {findings[0].message}", "none", "repair the cases in the table above")
    resolved = {}
    for dataset in datasets:
        own = [r for (d, case_id), r in zip(jobs, checked, strict=True) if d is dataset and case_id not in dataset.splits.test]
        resolved[dataset.task.name] = resolve(dataset.task, own)
    jobs = [(d, resolved[d.task.name], case_id, cache_dir) for d in datasets for case_id in d.splits.patients if case_id not in d.splits.test]
    for _ in _parallel(_write_case, jobs, num_workers, "prepare"):
        pass
    for dataset in datasets:
        name = dataset.task.name
        cases = [case_id for case_id in dataset.splits.patients if case_id not in dataset.splits.test]
        cache.write_task(cache_dir / name, resolved[name], cases, dataset.splits)
    return TaskSet(resolved.values())


def _check_case(dataset: Dataset, case_id: str) -> CaseFingerprint | Finding:
    try:
        volume, label = load_case(dataset.task, dataset.source.label_map, dataset.cases[case_id])
    except InputError as error:
        return Finding(dataset.task.name, case_id, str(error))
    return measure(volume, label)


def _write_case(dataset: Dataset, task: Task, case_id: str, cache_dir: Path) -> None:
    case, folder = dataset.cases[case_id], cache_dir / task.name
    key = _key(task, dataset.source, case)
    if cache.is_current(folder, case_id, key):
        return
    volume, label = load_case(task, dataset.source.label_map, case)
    prepared = preprocess(volume, task)
    small = resample_label(crop(label, prepared.box), volume.spacing_mm, task.spacing_mm)
    cache.write_case(folder, case_id, case.patient_id, prepared.image, small, key)


def _key(task: Task, source: Source, case: Case) -> str:
    """Changes whenever the cached arrays would."""
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in (*case.image_paths, case.label_path)]
    settings = [cache.FORMAT, task.to_dict(), sorted(source.label_map.items()), case.patient_id, files]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def _parallel(work: Callable, jobs: Sequence[tuple], num_workers: int, title: str) -> list:
    results: Iterable = Parallel(n_jobs=num_workers, return_as="generator")(delayed(work)(*job) for job in jobs)
    return list(track(results, title, total=len(jobs), console=Console(stderr=True)))


def _print_findings(findings: Sequence[Finding]) -> None:
    table = Table("task", "case", "finding")
    for finding in findings:
        table.add_row(finding.task, finding.case_id, finding.message)
    Console(stderr=True, width=240).print(table)
