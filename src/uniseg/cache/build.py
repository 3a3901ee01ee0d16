"""Preparation of a task set: find, audit, measure, write."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import track

from uniseg.cache import store as cache
from uniseg.datasets.audit import AuditFinding, check_datasets, findings_table
from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset, find_dataset
from uniseg.datasets.labels import load_case, reference_image
from uniseg.datasets.source import Source
from uniseg.environment import end_with_parent
from uniseg.errors import InputError
from uniseg.preprocessing.fingerprint import CaseFingerprint, measure, resolve
from uniseg.preprocessing.preprocess import crop, preprocess, require_extent
from uniseg.preprocessing.resample import resample_label
from uniseg.pretext.base import Objective
from uniseg.pretext.objectives import find_objectives
from uniseg.settings import as_plain
from uniseg.task import Task, TaskSet

# of measuring and preprocessing; another number makes fingerprints and cases again; what was written still trains
RECIPE = 2


def audit(
    tasks: TaskSet, sources: Mapping[str, Source], num_workers: int, cache_dir: Path | None = None
) -> list[Dataset]:
    """Read every case; show all findings of all tasks in one table on stderr.

    Args:
        cache_dir: keeps what is measured, so that a second audit reads changed cases only; None: nothing is written.

    Raises:
        InputError: a finding that makes the data useless.
    """
    datasets, findings = [], []
    for task in tasks:
        try:
            datasets.append(find_dataset(task, sources[task.name]))
        except InputError as error:
            findings.append(AuditFinding.of(task.name, "-", error))
    jobs = [(d.task, d.source, d.cases[case_id], cache_dir) for d in datasets for case_id in d.splits.patients]
    results = _parallel(_audit_case, jobs, num_workers, "audit")
    findings += [result for result in results if isinstance(result, AuditFinding)]
    measured: dict[str, dict[str, CaseFingerprint]] = {dataset.task.name: {} for dataset in datasets}
    for (task, _, case, _), result in zip(jobs, results, strict=True):
        if isinstance(result, CaseFingerprint):
            measured[task.name][case.case_id] = result
    datasets = [replace(dataset, fingerprints=measured[dataset.task.name]) for dataset in datasets]
    findings += check_datasets(datasets, _others(tasks, cache_dir) if cache_dir else ())
    if findings:
        Console(stderr=True, width=240).print(findings_table(findings))
    fatal = [finding for finding in findings if finding.fatal]
    if fatal:
        first = f"first: {fatal[0].where}: found {fatal[0].found}; expected {fatal[0].expected}; {fatal[0].fix}"
        number = "1 error" if len(fatal) == 1 else f"{len(fatal)} errors"
        raise InputError("audit", f"{number}, {first}", "none", "see the table above")
    return datasets


def prepare(
    datasets: Sequence[Dataset],
    cache_dir: Path,
    num_workers: int,
    objectives: Mapping[str, Objective] | None = None,
    title: str = "write cache",
) -> TaskSet:
    """Write the cache of audited datasets: all cases but those for test. Finished cases are kept.

    Args:
        objectives: of pretext tasks, by name; None: ours with their defaults.
        title: of the progress bar.

    Returns:
        The tasks with their normalisation resolved.
    """
    resolved = {d.task.name: resolve(d.task, [d.fingerprints[case_id] for case_id in d.kept]) for d in datasets}
    found = find_objectives([d.task for d in datasets], objectives)
    jobs = [
        (resolved[d.task.name], d.source, d.cases[case_id], cache_dir, found.get(d.task.objective or ""))
        for d in datasets
        for case_id in d.kept
    ]
    entries = iter(_parallel(_write_case, jobs, num_workers, title))
    for dataset in datasets:
        name = dataset.task.name
        hashes = {case_id: fingerprint.image_hash for case_id, fingerprint in dataset.fingerprints.items()}
        written = [next(entries) for _ in dataset.kept]
        weights = dataset.source.loss_weights()
        cache.write_task(cache_dir / name, resolved[name], written, dataset.splits, hashes, weights)
    return TaskSet(resolved.values())


def _others(tasks: TaskSet, cache_dir: Path) -> list[cache.TaskCache]:
    """The other tasks of a cache; one that is damaged is left to its own preparation."""
    caches = []
    for folder in cache.prepared_folders(cache_dir):
        if folder.name not in tasks.names:
            with suppress(InputError):
                caches.append(cache.TaskCache(folder))
    return caches


def prune(cache_dir: Path, names: Sequence[str], remove: bool) -> str:
    """Remove, or only count, what earlier settings left in the cache of some tasks; one line for the user, empty where
    there is nothing.
    """
    folders = [folder for name in names for folder in cache.superseded(cache_dir / name)]
    size_gb = sum(file.stat().st_size for folder in folders for file in folder.rglob("*")) / 1e9
    if remove:
        for folder in folders:
            if folder.is_dir():
                shutil.rmtree(folder)
            else:
                folder.unlink()
    said = "removed" if remove else "kept; prune=true removes them"
    return f"{len(folders)} cached cases of earlier settings ({size_gb:.2f} GB) {said}" if folders else ""


def _audit_case(task: Task, source: Source, case: Case, cache_dir: Path | None) -> CaseFingerprint | AuditFinding:
    meaning = [task.modalities, task.class_values, task.reference, task.optional]
    try:
        key = _key(meaning, source, case)
        known = cache_dir and cache.read_fingerprint(cache_dir / task.name, case.case_id, key)
        fingerprint = known or measure(*load_case(task, source, case), task)
        if fingerprint.extent_mm:
            require_extent(reference_image(task, case), fingerprint.extent_mm, task)
    except InputError as error:
        return AuditFinding.of(task.name, case.case_id, error)
    if cache_dir and not known:
        cache.write_fingerprint(cache_dir / task.name, case.case_id, key, fingerprint)
    return fingerprint


def _write_case(
    task: Task, source: Source, case: Case, cache_dir: Path, objective: Objective | None
) -> cache.CaseEntry:
    of_label = [as_plain(objective)] if objective is not None and objective.labels_scans else []
    folder, key = cache_dir / task.name, _key([cache.FORMAT, task.definition(), *of_label], source, case)
    finished = cache.read_entry(folder, case.case_id, key, task.num_modalities)
    if finished and finished.patient_id == case.patient_id:
        return finished
    volume, label = load_case(task, source, case)
    prepared = preprocess(volume, task)
    if objective is None:
        small = resample_label(crop(label, prepared.box), volume.spacing_mm, task.spacing_mm)
    else:
        small = objective.label_of(prepared.image, task)
    entry = cache.CaseEntry(case.case_id, case.patient_id, small.shape, key)
    cache.write_case(folder, entry, prepared.image, small, task)
    return entry


def _key(settings: list, source: Source, case: Case) -> str:
    """Changes whenever the files, what their values mean, ``settings`` or our recipe do."""
    files = [(path.name, _stamps(path)) for path in case.files]
    what = [RECIPE, settings, sorted(source.label_map.items()), source.ignore, case.patient_id, case.absent, files]
    if case.masks:  # which of the files make up which class
        what.append([source.overlapping_masks, [[path.name for path in paths] for paths in case.masks]])
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def _stamps(path: Path) -> list[tuple[str, int, int]]:
    """Name, size, time of a file, or of every file of a DICOM folder."""
    members = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(member.name, member.stat().st_size, member.stat().st_mtime_ns) for member in members]


def _parallel(work: Callable, jobs: Sequence[tuple], num_workers: int, title: str) -> list:
    results: Iterable = Parallel(n_jobs=num_workers, return_as="generator", initializer=end_with_parent)(
        delayed(work)(*job) for job in jobs
    )
    return list(track(results, title, total=len(jobs), console=Console(stderr=True)))
