"""A case in files -> the scans that have to be computed, in memory."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uniseg.datasets.case import Case
from uniseg.errors import InputError
from uniseg.images.files import read_volume, reference_path
from uniseg.images.stamp import stamp
from uniseg.images.volume import Volume
from uniseg.inference.outputs import MERGED, OutputLayout
from uniseg.inference.predictor import Predictor, guess_modalities
from uniseg.inference.task_selection import explain_selection, guessed_tasks
from uniseg.preprocessing.modality import Guess

Files = tuple[Path | None, ...]
Images = Mapping[str, Files]  # task name -> one file per modality of the task, None for one that the scan lacks
Scan = tuple[Files, int | None]  # what is read at a time: files, index of the one onto whose grid the others come


@dataclass(frozen=True)
class CaseJob:
    """What is to be computed of one case.

    Attributes:
        records: by output, what the JSON beside it says of where it comes from.
        scans: scan -> tasks that are not finished.
        volumes: of these scans, in memory; each is taken out when it is computed.

    Examples:
        >>> job = CaseReader(predictor, layout).read("case_3", {"liver": (Path("scan.nii.gz"),)})  # doctest: +SKIP
    """

    case_id: str
    images: Images
    records: Mapping[str, dict]
    scans: Mapping[Scan, list[str]]
    volumes: dict[Scan, Volume]


class CaseReader:
    """Reads what is not predicted yet.

    Args:
        log: takes a line on what a scan was taken for.

    Examples:
        >>> reader = CaseReader(predictor, OutputLayout(Path("out")), log=print)  # doctest: +SKIP
    """

    def __init__(self, predictor: Predictor, layout: OutputLayout, log: Callable[[str], None] | None = None) -> None:
        self.predictor, self.layout, self.tasks = predictor, layout, predictor.tasks
        self.log = log or (lambda line: None)

    def read_case(self, case: Case, images: Images | None) -> CaseJob:
        """
        Args:
            images: files per task; None: those of the tasks that fit what the scan looks like.

        Raises:
            InputError: as of ``read``; no task fits.
        """
        if images is not None:
            return self.read(case.case_id, images)
        guesses: list[Guess] = []
        volumes: dict[Scan, Volume] = {}
        for path in case.image_paths:
            with self.predictor.stopwatch("read"):
                volume = read_volume([path])
            guesses += guess_modalities(volume)
            if len(case.image_paths) == 1:  # it is not read twice
                volumes[(path,), None] = volume
        names = guessed_tasks(self.tasks, guesses, str(case.image_paths[0]))
        self.log(f"{case.case_id}: {explain_selection(self.tasks, names, guesses)}")
        return self.read(case.case_id, dict.fromkeys(names, case.image_paths), volumes)

    def read(self, case_id: str, images: Images, volumes: Mapping[Scan, Volume] | None = None) -> CaseJob:
        """
        Args:
            volumes: scans that were read before.

        Raises:
            InputError: files that cannot be read, or do not fit the tasks or the format; for a merged map, scans on
                more than one grid.
        """
        volumes = dict(volumes or {})
        self.layout.require_writable(
            {self.predictor.task(name): reference_path(each, self._reference(name)) for name, each in images.items()}
        )
        records = self._records(case_id, images)  # before reading, so that a later change of a file is noticed
        scans: dict[Scan, list[str]] = {}
        for name, files in images.items():
            if not self.layout.is_done(name, case_id, records[MERGED if self.layout.merge else name]):
                scans.setdefault((tuple(files), self._reference(name)), []).append(name)
        for scan, names in scans.items():
            if scan not in volumes:
                with self.predictor.stopwatch("read"):
                    volumes[scan] = read_volume(*scan)
            self._check_volume(case_id, scan, volumes[scan], names)
        return CaseJob(case_id, images, records, scans, {scan: volumes[scan] for scan in scans})

    def _records(self, case_id: str, images: Images) -> dict[str, dict]:
        """By output."""
        origin = {"checkpoint": self.predictor.checkpoint_hash, "settings": self.predictor.recorded_settings}
        origin |= self.layout.record
        stamps = {path: stamp(path) for files in images.values() for path in files if path is not None}
        inputs = {
            name: {"images": [p and os.path.abspath(p) for p in files], "stamps": [p and stamps[p] for p in files]}
            for name, files in images.items()
        }
        if not self.layout.merge:
            return {name: origin | each | {"task": name} for name, each in inputs.items()}
        if len({reference_path(files, self._reference(name)) for name, files in images.items()}) > 1:
            fix = "choose tasks of the same modality, or leave merge=true out"
            raise InputError(case_id, "more than one grid", "one scan for all tasks", fix)
        return {
            MERGED: origin | {key: {name: each[key] for name, each in inputs.items()} for key in ("images", "stamps")}
        }

    def _check_volume(self, case_id: str, scan: Scan, volume: Volume, names: Sequence[str]) -> None:
        for task in map(self.predictor.task, names):
            if len(scan[0]) == 1 < len(volume.array) != task.num_modalities:
                found = f"{len(volume.array)} volumes in one file"
                expected = f"{task.num_modalities} for task '{task.name}' ({', '.join(task.modalities)})"
                raise InputError(scan[0][0], found, expected, "give one file per modality")
        for note in volume.notes:
            self.log(f"{case_id}: {note}")

    def _reference(self, name: str) -> int | None:
        return self.predictor.task(name).reference_position
