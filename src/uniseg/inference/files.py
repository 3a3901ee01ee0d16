"""Prediction from files to files: reading, the network, writing overlap; what is finished stays."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from uniseg.environment import uniseg_version
from uniseg.errors import InputError
from uniseg.files import write_json
from uniseg.inference.fitting import explained, guessed_tasks
from uniseg.inference.merge import merge, merged_values, write_tables
from uniseg.inference.predictor import Predictor, guesses_of
from uniseg.inference.restore import Restored, Wanted
from uniseg.scans.case import Case
from uniseg.scans.inputs import find_inputs
from uniseg.scans.io import read_volume, reference_path, write_label_map, write_probabilities
from uniseg.scans.modality import Guess
from uniseg.scans.volume import Volume
from uniseg.task import Task

Files = tuple[Path | None, ...]
Images = Mapping[str, Files]  # task name -> one file per modality of the task, None for an optional one that the scan lacks
Scan = tuple[Files, int | None]  # what is read at a time: files, position of the one whose grid holds
MERGED = "merged"
WRITERS = 2
AUTO = "auto"


@dataclass(frozen=True)
class Job:
    """One case on its way: what is to be computed of which scans.

    Attributes:
        facts: by output, what the JSON beside it says of where it comes from.
        scans: scan -> tasks that are not finished.
        volumes: of these scans, in memory.
    """

    case_id: str
    images: Images
    facts: Mapping[str, dict]
    scans: Mapping[Scan, list[str]]
    volumes: dict[Scan, list[Volume]]


@dataclass(frozen=True)
class Found:
    """Segmentations of a job by task, voxel sizes (z, y, x) of their grids."""

    restored: Mapping[str, Restored]
    spacing_mm: Mapping[str, tuple[float, ...]]


class CaseRunner:
    """Scans in files -> label maps in files, ``<output>/<task>/<case>.nii.gz`` with a JSON beside each.

    Args:
        merge: one map per case instead, ``<output>/merged/<case>.nii.gz``, with tables of its values.
        probabilities: beside every label map those of its label values, ``<case>_probabilities.nii.gz``.
        tell: takes a line on what a scan was taken for.
    """

    def __init__(
        self, predictor: Predictor, output: str | Path, *, merge: bool = False, probabilities: bool = False, tell: Callable[[str], None] | None = None
    ) -> None:
        if merge and probabilities:
            raise InputError("probabilities", "with merge=true", "label maps per task", "leave one of the two out")
        self.predictor, self.output, self.merge, self.probabilities = predictor, Path(output), merge, probabilities
        self.tell = tell or (lambda line: None)
        self.tasks = predictor.model.tasks

    def __call__(self, case_id: str, images: Images) -> list[Path]:
        """One case; what exists from the same checkpoint, files and settings is kept.

        Raises:
            InputError: files that cannot be read, or do not fit the tasks; for a merged map, scans on more than one grid.
        """
        job = self._read(case_id, images, {})
        return self._write(job, self._compute(job))

    def over(self, cases: Iterable[tuple[Case, Images | None]]) -> Iterator[list[Path]]:
        """The paths of one case after the other, once they are there; the next scan is read while the network works, the last one written.

        Args:
            cases: each with its files per task; None: those of the tasks that fit what the scan looks like.

        Raises:
            InputError: as of a call; cases ahead of the bad one are finished.
        """
        with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
            following = iter(cases)
            ahead = self._ahead(reader, following)
            written: Future | None = None
            while ahead is not None:
                try:
                    job = ahead.result()
                except InputError:
                    if written is not None:
                        yield written.result()
                    raise
                ahead = self._ahead(reader, following)
                found = self._compute(job)
                if written is not None:
                    yield written.result()
                written = writer.submit(self._write, job, found)
            if written is not None:
                yield written.result()

    def _ahead(self, reader: ThreadPoolExecutor, following: Iterator[tuple[Case, Images | None]]) -> Future | None:
        pair = next(following, None)
        return None if pair is None else reader.submit(self._read_case, *pair)

    def _read_case(self, case: Case, images: Images | None) -> Job:
        images, known = (images, {}) if images is not None else self._guessed(case)
        return self._read(case.case_id, images, known)

    def _guessed(self, case: Case) -> tuple[Images, dict[Scan, list[Volume]]]:
        """The tasks that fit; a scan that is one file is not read twice."""
        guesses: list[Guess] = []
        known: dict[Scan, list[Volume]] = {}
        for path in case.image_paths:
            with self.predictor.stopwatch("read"):
                volume = read_volume([path])
            guesses += guesses_of(volume)
            if len(case.image_paths) == 1:
                known[(path,), None] = [volume]
        names = guessed_tasks(self.tasks, guesses, str(case.image_paths[0]))
        self.tell(f"{case.case_id}: {explained(self.tasks, names, guesses)}")
        return dict.fromkeys(names, case.image_paths), known

    def _read(self, case_id: str, images: Images, known: dict[Scan, list[Volume]]) -> Job:
        origin = {"checkpoint": self.predictor.fingerprint, "settings": self.predictor.settings}
        if self.merge:
            if len({reference_path(own, self._reference(name)) for name, own in images.items()}) > 1:
                raise InputError(case_id, "more than one grid", "one scan for all tasks", "choose tasks of the same modality, or leave merge=true out")
            facts = {MERGED: origin | {"images": {name: _named(own) for name, own in images.items()}}}
        else:
            facts = {name: origin | {"images": _named(own), "task": name} for name, own in images.items()}
        scans: dict[Scan, list[str]] = {}
        for name, own in images.items():
            if not self._is_done(case_id, name, facts):
                scans.setdefault((tuple(own), self._reference(name)), []).append(name)
        volumes = {}
        for scan in scans:
            if scan not in known:
                with self.predictor.stopwatch("read"):
                    known[scan] = [read_volume(*scan)]
            volumes[scan] = known[scan]
            self._look_at(case_id, scan, volumes[scan][0], scans[scan])
        return Job(case_id, images, facts, scans, volumes)

    def _look_at(self, case_id: str, scan: Scan, volume: Volume, names: Sequence[str]) -> None:
        for task in map(self.predictor.task, names):
            if len(scan[0]) == 1 < len(volume.array) != task.num_modalities:
                expected = f"{task.num_modalities} for task '{task.name}' ({', '.join(task.modalities)})"
                raise InputError(scan[0][0], f"{len(volume.array)} volumes in one file", expected, "give one file per modality")
        for note in volume.notes:
            self.tell(f"{case_id}: {note}")

    def _compute(self, job: Job) -> Found:
        wanted = Wanted(confidence=self.merge, probabilities=self.probabilities)
        restored: dict[str, Restored] = {}
        spacings: dict[str, tuple[float, ...]] = {}
        for scan, names in job.scans.items():
            spacings |= dict.fromkeys(names, job.volumes[scan][0].spacing_mm)
            restored |= self.predictor.restored(job.volumes[scan], names, wanted)
        return Found(restored, spacings)

    def _write(self, job: Job, found: Found) -> list[Path]:
        with self.predictor.stopwatch("write"):
            if self.merge:
                if found.restored:
                    self._write_merged(job, found)
                return [self._path(MERGED, job.case_id)]
            with ThreadPoolExecutor(WRITERS, "pack") as packers:  # compression leaves Python's lock alone
                for _ in packers.map(partial(self._write_task, job, found), found.restored):
                    pass
            return [self._path(name, job.case_id) for name in job.images]

    def _write_task(self, job: Job, found: Found, name: str) -> None:
        own, spacing_mm = found.restored[name], found.spacing_mm[name]
        label = self.predictor.unpacked(name, own, spacing_mm)
        like = reference_path(job.images[name], self._reference(name))
        told = job.facts[name] | _description(self.predictor.task(name), label, spacing_mm)
        path = self._path(name, job.case_id)
        _json_path(path).unlink(missing_ok=True)
        if own.probabilities is not None:
            write_probabilities(own.probabilities[:], like, _probabilities_path(path))
        write_label_map(label, like, path)
        write_json(_json_path(path), told)

    def _write_merged(self, job: Job, found: Found) -> None:
        tasks = [self.predictor.task(name) for name in job.images]
        values, spacing_mm = merged_values(tasks), next(iter(found.spacing_mm.values()))
        cleaned = {name: self._cleaned(name, found.restored[name], spacing_mm) for name in job.images}
        label = merge(cleaned, values)
        voxels, voxel_ml = _counts(label, len(values) + 1), float(np.prod(spacing_mm)) / 1000
        path = self._path(MERGED, job.case_id)
        _json_path(path).unlink(missing_ok=True)
        write_label_map(label, reference_path(job.images[tasks[0].name], tasks[0].reference_position), path)
        write_tables(values, path.parent)
        named = [{"value": v.value, "name": v.name, "volume_ml": round(float(voxels[v.value]) * voxel_ml, 3)} for v in values]
        write_json(_json_path(path), job.facts[MERGED] | {"values": named, "uniseg": uniseg_version()})

    def _cleaned(self, name: str, own: Restored, spacing_mm: Sequence[float]) -> Restored:
        return Restored(self.predictor.unpacked(name, own, spacing_mm), own.confidence) if self.predictor.cleanings.get(name) else own

    def _reference(self, name: str) -> int | None:
        return self.predictor.task(name).reference_position

    def _path(self, name: str, case_id: str) -> Path:
        return self.output / name / f"{case_id}.nii.gz"

    def _is_done(self, case_id: str, name: str, facts: Mapping[str, dict]) -> bool:
        name = MERGED if self.merge else name
        path = self._path(name, case_id)
        needed = [path, _json_path(path), *([_probabilities_path(path)] if self.probabilities else [])]
        return all(each.exists() for each in needed) and facts[name].items() <= json.loads(_json_path(path).read_text()).items()


def predict_files(
    predictor: Predictor,
    given: str | Sequence[str],
    output: str | Path,
    *,
    tasks: str | Sequence[str] = AUTO,
    modality: Sequence[str] | None = None,
    merge: bool = False,
    probabilities: bool = False,
    console: Console | None = None,
) -> list[Path]:
    """What was written, or was there already from the same files, weights and settings. A progress bar goes to ``console``, with what a scan was taken for.

    Args:
        given: a file, a folder of files or DICOM series, or a list of files, one per modality.
        tasks: names; ``auto``: all that take the modalities, or, where these are not stated, that fit what the scan looks like.
        modality: what the channels are, in order.
        merge, probabilities: as of ``CaseRunner``.
        console: None: standard error.

    Raises:
        InputError: anything wrong with the scans or the tasks asked.
    """
    console = console or Console(stderr=True, soft_wrap=True)
    cases = find_inputs(given)
    tell = partial(console.print, markup=False, highlight=False)
    runner = CaseRunner(predictor, output, merge=merge, probabilities=probabilities, tell=tell)
    names = [tasks] if isinstance(tasks, str) else list(tasks)
    if names == [AUTO]:
        names = None if modality is None else predictor.fitting_tasks(modality)
    if names == []:
        raise InputError("tasks", "an empty list", f"names among {', '.join(predictor.model.tasks.names)}, or auto", "correct tasks=")
    chosen = None if names is None else [predictor.task(name) for name in names]

    pairs = [(case, chosen and {task.name: arranged(task, case, modality) for task in chosen}) for case in cases]  # what does not fit is told ahead of all work
    finished = track(runner.over(pairs), "predict", total=len(cases), console=console)
    return [path for paths in finished for path in paths]


def arranged(task: Task, case: Case, modality: Sequence[str] | None) -> Files:
    """The files of a case in the task's own order, None where it lacks a modality; as they come where ``modality`` does not name them.

    Raises:
        InputError: another number of files than names, or one file of several modalities in another order than the task's.
    """
    if modality is None:
        return case.image_paths
    if len(case.image_paths) == 1 < len(modality):
        if tuple(modality) != task.modalities:
            raise InputError(case.image_paths[0], f"one file of {list(modality)}", f"{list(task.modalities)}, in this order", "give one file per modality")
        return case.image_paths
    if len(modality) != len(case.image_paths):
        raise InputError(case.image_paths[0], f"{len(case.image_paths)} files", f"one for each of {list(modality)}", "correct modality=[...] or the input")
    by_name = dict(zip(modality, case.image_paths, strict=True))
    return tuple(by_name.get(name) for name in task.modalities)


def _named(files: Files) -> list[str | None]:
    return [path and str(path) for path in files]


def _description(task: Task, label: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, Any]:
    """Which values the label map holds, how much of each class."""
    voxels = _counts(label, task.num_labels)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    own = dict(zip(task.classes[1:], task.class_values, strict=True))
    return {
        "classes": list(task.classes),
        "values": {name: list(values) for name, values in own.items()},
        "volumes_ml": {name: round(float(voxels[list(values)].sum()) * voxel_ml, 3) for name, values in own.items()},
        "uniseg": uniseg_version(),
    }


def _counts(label: np.ndarray, num_values: int) -> np.ndarray:
    return torch.from_numpy(label).reshape(-1).bincount(minlength=num_values).numpy()  # NumPy's would first make eight bytes of each


def _json_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _probabilities_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".nii.gz") + "_probabilities.nii.gz")
