"""Cases in files -> label maps in files: reading, the network, writing overlap; what is finished stays."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uniseg.datasets.case import Case
from uniseg.environment import uniseg_version
from uniseg.errors import InputError
from uniseg.files import write_json
from uniseg.images.files import read_volume, reference_path, write_label_map, write_probabilities
from uniseg.images.stamp import stamp
from uniseg.images.volume import Volume
from uniseg.inference.merge import TABLES, merge, merged_values, write_tables
from uniseg.inference.outputs import MERGED, json_path, label_path, probabilities_path, read_own, require_free
from uniseg.inference.predictor import Predictor, guesses_of
from uniseg.inference.restore import Restored, Wanted
from uniseg.inference.task_selection import explained, guessed_tasks
from uniseg.preprocessing.modality import Guess
from uniseg.task import Task

Files = tuple[Path | None, ...]
Images = Mapping[str, Files]  # task name -> one file per modality of the task, None for one that the scan lacks
Scan = tuple[Files, int | None]  # what is read at a time: files, position of the one whose grid holds
WRITERS = 2


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
    """Segmentations of a job by task, volume of a voxel of their grids."""

    restored: Mapping[str, Restored]
    voxel_ml: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """What became of a case: the paths of its label maps, or why it was refused."""

    case_id: str
    paths: tuple[Path, ...]
    refusal: InputError | None = None


class CaseRunner:
    """Scans in files -> label maps in files, ``<output>/<task>/<case>.nii.gz`` with a JSON beside each.

    Args:
        merge: one map per case instead, ``<output>/merged/<case>.nii.gz``, with tables of its values.
        probabilities: beside every label map those of its label values, ``<case>_probabilities.nii.gz``.
        tell: takes a line on what a scan was taken for.
    """

    def __init__(
        self,
        predictor: Predictor,
        output: str | Path,
        *,
        merge: bool = False,
        probabilities: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        if merge and probabilities:
            raise InputError("probabilities", "with merge=true", "label maps per task", "leave one of the two out")
        self.predictor, self.output, self.merge, self.probabilities = predictor, Path(output), merge, probabilities
        self.tell = tell or (lambda line: None)
        self.tasks = predictor.model.tasks

    def __call__(self, case_id: str, images: Images) -> list[Path]:
        """One case; what exists from the same checkpoint, scans and settings is kept.

        Raises:
            InputError: files that cannot be read, or do not fit the tasks; for a merged map, scans on more than one
                grid; an output that is not ours to replace.
            OSError: a file cannot be written; it names the file.
        """
        files = tuple(path for own in images.values() for path in own)
        self._require_free([(Case(case_id, case_id, files, None), images)])
        job = self._read(case_id, images, {})
        return self._write(job, self._compute(job))

    def over(self, cases: Iterable[tuple[Case, Images | None]]) -> Iterator[Outcome]:
        """What became of one case after the other; the next scan is read while the network works, the last one written.

        A case that cannot be read or does not fit is refused; the others go on.

        Args:
            cases: each with its files per task; None: those of the tasks that fit what the scan looks like.

        Raises:
            InputError: an output that is not ours to replace, ahead of all work.
            OSError: a file cannot be written; it names the file, and what is finished stays.
        """
        cases = list(cases)
        self._require_free(cases)
        with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
            ahead: Future[Job] | None = None
            last: Future[Outcome] | None = None
            for pair, following in zip_longest(cases, cases[1:]):
                current = ahead or reader.submit(self._read_case, *pair)
                wait([current])
                ahead = following and reader.submit(self._read_case, *following)
                finish = self._computed(pair[0].case_id, current)
                del current
                if last is not None:
                    yield last.result()
                last = writer.submit(finish)
            if last is not None:
                yield last.result()

    def _computed(self, case_id: str, read: Future[Job]) -> Callable[[], Outcome]:
        """Computes a case that was read; the rest is the writer's."""
        try:
            job = read.result()
            return partial(self._written, job, self._compute(job))
        except InputError as error:
            return partial(Outcome, case_id, (), error)

    def _written(self, job: Job, found: Found) -> Outcome:
        try:
            return Outcome(job.case_id, tuple(self._write(job, found)))
        except InputError as error:
            return Outcome(job.case_id, (), error)

    def _require_free(self, cases: Sequence[tuple[Case, Images | None]]) -> None:
        planned: dict[Path, list[Path]] = {}
        for case, images in cases:
            for name in [MERGED] if self.merge else images or self.tasks.names:
                label = label_path(self.output, name, case.case_id)
                beside = [json_path(label), *([probabilities_path(label)] if self.probabilities else [])]
                if label in planned:
                    fix = "rename one, or predict one of them into another output="
                    raise InputError(case.files[0], f"a second scan called '{case.case_id}'", "one of each name", fix)
                planned[label] = beside
        inputs = [path for case, _ in cases for path in case.files]
        require_free(planned, inputs, [self.output / MERGED / name for name in TABLES] if self.merge else ())

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
        # Ahead of reading, so that a later change is seen.
        stamps = {path: stamp(path) for own in images.values() for path in own if path is not None}
        told = {
            name: {"images": [p and os.path.abspath(p) for p in own], "stamps": [p and stamps[p] for p in own]}
            for name, own in images.items()
        }
        if self.merge:
            if len({reference_path(own, self._reference(name)) for name, own in images.items()}) > 1:
                raise InputError(
                    case_id,
                    "more than one grid",
                    "one scan for all tasks",
                    "choose tasks of the same modality, or leave merge=true out",
                )
            facts = {
                MERGED: origin | {key: {name: own[key] for name, own in told.items()} for key in ("images", "stamps")}
            }
        else:
            facts = {name: origin | own | {"task": name} for name, own in told.items()}
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
                found = f"{len(volume.array)} volumes in one file"
                expected = f"{task.num_modalities} for task '{task.name}' ({', '.join(task.modalities)})"
                raise InputError(scan[0][0], found, expected, "give one file per modality")
        for note in volume.notes:
            self.tell(f"{case_id}: {note}")

    def _compute(self, job: Job) -> Found:
        wanted = Wanted(confidence=self.merge, probabilities=self.probabilities)
        restored: dict[str, Restored] = {}
        voxel_ml: dict[str, float] = {}
        for scan, names in job.scans.items():
            voxel_ml |= dict.fromkeys(names, job.volumes[scan][0].voxel_ml)
            try:
                restored |= self.predictor.restored(job.volumes[scan], names, wanted)
            except InputError as error:
                where = f"{reference_path(*scan)}, {error.where}"
                raise InputError(where, error.found, error.expected, error.fix) from error
        return Found(restored, voxel_ml)

    def _write(self, job: Job, found: Found) -> list[Path]:
        with self.predictor.stopwatch("write"):
            if self.merge:
                if found.restored:
                    self._write_merged(job, found)
                return [label_path(self.output, MERGED, job.case_id)]
            with ThreadPoolExecutor(WRITERS, "pack") as packers:  # compression leaves Python's lock alone
                for _ in packers.map(partial(self._write_task, job, found), found.restored):
                    pass
            return [label_path(self.output, name, job.case_id) for name in job.images]

    def _write_task(self, job: Job, found: Found, name: str) -> None:
        own, voxel_ml = found.restored[name], found.voxel_ml[name]
        label = self.predictor.unpacked(name, own, voxel_ml)
        like = reference_path(job.images[name], self._reference(name))
        path = label_path(self.output, name, job.case_id)
        with self._claimed(path):
            if own.probabilities is not None:
                write_probabilities(own.probabilities[:], like, probabilities_path(path))
            write_label_map(label, like, path)
            write_json(json_path(path), job.facts[name] | _description(self.predictor.task(name), label, voxel_ml))

    def _write_merged(self, job: Job, found: Found) -> None:
        tasks = [self.predictor.task(name) for name in job.images]
        values, voxel_ml = merged_values(tasks), next(iter(found.voxel_ml.values()))
        cleaned = {name: self._cleaned(name, found.restored[name], voxel_ml) for name in job.images}
        label = merge(cleaned, values)
        voxels = _counts(label, len(values) + 1)
        path = label_path(self.output, MERGED, job.case_id)
        named = [
            {"value": v.value, "name": v.name, "volume_ml": round(float(voxels[v.value]) * voxel_ml, 3)} for v in values
        ]
        with self._claimed(path):
            write_label_map(label, reference_path(job.images[tasks[0].name], tasks[0].reference_position), path)
            write_tables(values, path.parent)
            write_json(json_path(path), job.facts[MERGED] | {"values": named, "uniseg": uniseg_version()})

    @contextmanager
    def _claimed(self, label: Path) -> Iterator[None]:
        """Says in the JSON whose the label map will be, not of which scan: what a kill leaves is ours, unfinished."""
        path = json_path(label)
        write_json(path, {"checkpoint": self.predictor.fingerprint, "uniseg": uniseg_version(), "unfinished": True})
        try:
            yield
        except (OSError, InputError):
            if not label.exists() and not probabilities_path(label).exists():
                path.unlink(missing_ok=True)
            raise

    def _cleaned(self, name: str, own: Restored, voxel_ml: float) -> Restored:
        return (
            Restored(self.predictor.unpacked(name, own, voxel_ml), own.confidence)
            if self.predictor.cleanings.get(name)
            else own
        )

    def _reference(self, name: str) -> int | None:
        return self.predictor.task(name).reference_position

    def _is_done(self, case_id: str, name: str, facts: Mapping[str, dict]) -> bool:
        """Whether all files are there and come from the same weights, settings and scans, by name and stamp."""
        name = MERGED if self.merge else name
        path = label_path(self.output, name, case_id)
        needed = [path, *([probabilities_path(path)] if self.probabilities else [])]
        return (
            all(each.exists() for each in needed) and facts[name].items() <= (read_own(json_path(path)) or {}).items()
        )


def _description(task: Task, label: np.ndarray, voxel_ml: float) -> dict[str, Any]:
    """Which values the label map holds, how much of each class."""
    voxels = _counts(label, task.num_labels)
    own = dict(zip(task.classes[1:], task.class_values, strict=True))
    return {
        "classes": list(task.classes),
        "values": {name: list(values) for name, values in own.items()},
        "volumes_ml": {name: round(float(voxels[list(values)].sum()) * voxel_ml, 3) for name, values in own.items()},
        "uniseg": uniseg_version(),
    }


def _counts(label: np.ndarray, num_values: int) -> np.ndarray:
    return (
        torch.from_numpy(label).reshape(-1).bincount(minlength=num_values).numpy()
    )  # NumPy's makes eight bytes of each
