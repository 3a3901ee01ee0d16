"""The cache on disk: per case two chunked arrays with a description, read box by box.

``<task>/task.json`` lists the cases; ``<task>/<case>/<key>/`` holds one case as one combination of input files with
settings made it. A folder appears whole or not at all and is never changed, only replaced whole where it was damaged,
so any number of writers may work on one cache, a training run keeps the cases that it began with, a copy elsewhere
works, and reading writes nothing.
"""

import json
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from uniseg.cache.case_folder import (
    ANNOTATED,
    CASE,
    MALFORMED,
    PREPARE_AGAIN,
    CaseEntry,
    damaged,
    open_arrays,
    read_remembered,
)
from uniseg.cache.case_folder import read_entry as read_entry
from uniseg.cache.case_folder import write_case as write_case
from uniseg.datasets.splits import SplitTable
from uniseg.errors import InputError
from uniseg.files import PART, TASK_FILE, read_json, write_atomically, write_json
from uniseg.preprocessing.fingerprint import CaseFingerprint
from uniseg.task import Task

FORMAT = 2
DESCRIPTION = "a description as preparation writes it"
PART_DAYS = 1  # after which a leftover of a killed writer is removed
FINGERPRINTS = "fingerprints"


def is_prepared(folder: Path) -> bool:
    """Whether a folder is the complete cache of a task."""
    return (folder / TASK_FILE).exists()


def prepared_folders(cache_dir: Path) -> list[Path]:
    """The complete caches of tasks in ``cache_dir``, by name."""
    return sorted(path.parent for path in cache_dir.glob(f"*/{TASK_FILE}"))


class TaskCache:
    """The cached cases of one task.

    Args:
        folder: where ``task.json`` is.

    Attributes:
        image_hashes: case id -> hash of the first modality's voxels, of the cases for test too; a cache of an earlier
            version has those of which it kept the fingerprint.
        loss_weights: case id -> weight of its loss, where that is not 1.

    Raises:
        InputError: the folder was not prepared, by another version, or its descriptions are damaged.

    Examples:
        >>> from uniseg.task import Normalization
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> splits = SplitTable(test=("a",), folds=((),), rest=(), patients={"a": "set/a"})
        >>> write_task(Path("cache/liver"), liver, [], splits)
        >>> TaskCache(Path("cache/liver")).splits.test
        ('a',)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        path = self.folder / TASK_FILE
        description = read_json(path, DESCRIPTION, PREPARE_AGAIN)
        if description.get("format") != FORMAT:
            raise InputError(path, f"format {description.get('format')!r:.60}", f"format {FORMAT}", PREPARE_AGAIN)
        splits = read_json(self.folder / "splits.json", DESCRIPTION, PREPARE_AGAIN)
        try:
            self.task = _read_task(description["task"])
            self.entries = {entry.case_id: entry for entry in map(CaseEntry.from_dict, description["cases"])}
            hashes = description.get("image_hashes")
            self.image_hashes = (
                _measured_hashes(self.folder) if hashes is None else {str(k): str(v) for k, v in hashes.items()}
            )
            weights = description.get("loss_weights", {})
            self.loss_weights = {str(k): float(v) for k, v in weights.items()}
            path = self.folder / "splits.json"
            self.splits = SplitTable.from_dict(splits)
            self._check_splits()
        except MALFORMED as error:
            found = f"values that were not written so ({type(error).__name__}: {' '.join(str(error).split())[:100]})"
            raise InputError(path, found, DESCRIPTION, PREPARE_AGAIN) from error

    def _check_splits(self) -> None:
        used = {case_id for cases in (*self.splits.folds, self.splits.rest) for case_id in cases}
        if not used <= self.entries.keys() or not used | set(self.splits.test) <= self.splits.patients.keys():
            raise ValueError(f"other cases than {TASK_FILE}")
        if not all(isinstance(patient, str) for patient in self.splits.patients.values()):
            raise ValueError("patients that are no names")

    def read_box(self, case_id: str, start: Sequence[int], stop: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Image ``[M,z,y,x]`` and label ``[z,y,x]`` between two corners inside the case, as they are stored.

        Raises:
            InputError: the cached case is damaged.
        """
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        path, shape = self._path(case_id), self.entries[case_id].shape
        image, label = open_arrays(path, (self.task.num_modalities, *shape))
        try:
            return image[(slice(None), *box)], label[box]
        except (OSError, RuntimeError, ValueError) as error:
            raise damaged(path, error) from error

    def foreground(self, case_id: str) -> dict[int, np.ndarray]:
        """Remembered voxels ``[n,3]`` of each foreground class that the case has.

        Raises:
            InputError: the cached case is damaged.
        """
        return {k: voxels for k, voxels in read_remembered(self._path(case_id)).items() if k != ANNOTATED}

    def annotated(self, case_id: str) -> dict[int, np.ndarray]:
        """Remembered voxels ``[n,3]`` that have a label, under ``ANNOTATED``; empty where all of the case's have.

        Raises:
            InputError: the cached case is damaged.
        """
        return {k: voxels for k, voxels in read_remembered(self._path(case_id)).items() if k == ANNOTATED}

    def _path(self, case_id: str) -> Path:
        return self.folder / case_id / self.entries[case_id].key


def _read_task(values: Mapping) -> Task:
    task = Task.from_dict(values)
    written = task.to_dict()
    texts = (*task.modalities, *task.classes)
    changed = [key for key, value in values.items() if key != "normalization" and written[key] != value]
    if (
        changed
        or not all(isinstance(text, str) for text in texts)
        or not all(how.resolved for how in task.normalization)
    ):
        raise ValueError(f"a task of other types: {', '.join(changed)}")
    return task


def write_task(
    folder: Path,
    task: Task,
    entries: Sequence[CaseEntry],
    splits: SplitTable,
    image_hashes: Mapping[str, str] | None = None,
    loss_weights: Mapping[str, float] | None = None,
) -> None:
    """Close the cache of a task; a folder with ``task.json`` is complete.

    Args:
        image_hashes: of all cases of ``splits``; None: not known.
        loss_weights: of cases whose loss does not count 1.

    Raises:
        InputError: a case is not there.
    """
    for entry in entries:
        path = folder / entry.case_id / entry.key
        if not (path / CASE).is_file():
            fix = "let nothing else clear the cache while it is written; prepare again"
            raise InputError(path, "a case that is gone", "the case that was written", fix)
    write_json(folder / "splits.json", splits.to_dict())
    description = {"format": FORMAT, "task": task.to_dict(), "cases": [asdict(entry) for entry in entries]}
    description |= {} if image_hashes is None else {"image_hashes": dict(image_hashes)}
    write_json(folder / TASK_FILE, description | ({"loss_weights": dict(loss_weights)} if loss_weights else {}))


def superseded(folder: Path) -> list[Path]:
    """Cases of other settings or files than ``task.json`` lists, with leftovers of killed writers."""
    keys = {
        (case["case_id"], case["key"]) for case in read_json(folder / TASK_FILE, DESCRIPTION, PREPARE_AGAIN)["cases"]
    }
    folders = [path for path in folder.glob("*/*") if path.is_dir() and path.parent.name != FINGERPRINTS]
    cases = [path for path in folders if not path.name.startswith(PART) and (path.parent.name, path.name) not in keys]
    old = time.time() - PART_DAYS * 86400
    leftovers = [
        path for pattern in (f"{PART}*", f"*/{PART}*") for path in folder.glob(pattern) if path.stat().st_mtime < old
    ]
    return [*cases, *leftovers]


def write_fingerprint(folder: Path, case_id: str, key: str, fingerprint: CaseFingerprint) -> None:
    facts = {**asdict(fingerprint), "samples": None, "key": key}
    with write_atomically(folder / FINGERPRINTS / f"{case_id}.npz") as part:
        np.savez(part, samples=fingerprint.samples, facts=np.array(json.dumps(facts)))


def read_fingerprint(folder: Path, case_id: str, key: str) -> CaseFingerprint | None:
    """What was measured of the same files with the same settings; None where there is nothing, or a damaged file."""
    facts = _read_facts(folder / FINGERPRINTS / f"{case_id}.npz")
    if facts is None or facts.pop("key", None) != key:
        return None
    try:
        return CaseFingerprint.from_dict(facts)
    except MALFORMED:
        return None


def _read_facts(path: Path) -> dict | None:
    try:
        with path.open("rb") as file, np.load(file) as content:
            return json.loads(str(content["facts"])) | {"samples": content["samples"]}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, *MALFORMED):
        return None


def _measured_hashes(folder: Path) -> dict[str, str]:
    facts = {path.stem: _read_facts(path) for path in sorted((folder / FINGERPRINTS).glob("*.npz"))}
    return {case_id: str(each["image_hash"]) for case_id, each in facts.items() if each and "image_hash" in each}
