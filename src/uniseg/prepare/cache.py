"""The cache on disk: per case two chunked arrays with a description, read box by box.

``<task>/task.json`` lists the cases; ``<task>/<case>/<key>/`` holds one case as one combination of input files with
settings made it. A folder appears whole or not at all and is never changed, so any number of writers may work on one
cache, a training run keeps the cases that it began with, a copy elsewhere works, and reading writes nothing.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import blosc2
import numpy as np

from uniseg.errors import InputError
from uniseg.prepare.fingerprint import CaseFingerprint
from uniseg.prepare.splits import SplitTable
from uniseg.task import Task

FORMAT = 2
MAX_FOREGROUND = 2000  # voxels remembered per class
PART = ".part_"  # begins the name of what is being written
PART_DAYS = 1  # after which a leftover of a killed writer is removed
IMAGE, LABEL, FOREGROUND, CASE = "image.b2nd", "label.b2nd", "foreground.npy", "case.json"


@dataclass(frozen=True)
class CaseEntry:
    """What is known of a cached case without opening its files: shape (Z, Y, X), patient, the key of its settings."""

    case_id: str
    patient_id: str
    shape: tuple[int, int, int]
    key: str


class TaskCache:
    """The cached cases of one task.

    Args:
        folder: where ``task.json`` is.

    Raises:
        InputError: the folder was not prepared, or by another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        description = read_json(self.folder / "task.json")
        if description["format"] != FORMAT:
            found = f"format {description['format']}"
            raise InputError(self.folder / "task.json", found, f"format {FORMAT}", "run python -m uniseg.prepare")
        self.task = Task.from_dict(description["task"])
        self.splits = SplitTable.from_dict(read_json(self.folder / "splits.json"))
        self.entries = {c["case_id"]: CaseEntry(c["case_id"], c["patient_id"], tuple(c["shape"]), c["key"]) for c in description["cases"]}

    def read_box(self, case_id: str, start: Sequence[int], stop: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Image ``[M,z,y,x]`` and label ``[z,y,x]`` between two corners inside the case, in the types in which they are stored."""
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        image, label = _open(self._path(case_id))
        return image[(slice(None), *box)], label[box]

    def foreground(self, case_id: str) -> dict[int, np.ndarray]:
        """Remembered voxels ``[n,3]`` of each foreground class that the case has."""
        return _foreground(self._path(case_id))

    def _path(self, case_id: str) -> Path:
        return self.folder / case_id / self.entries[case_id].key


@lru_cache(maxsize=64)
def _open(path: Path) -> tuple[blosc2.NDArray, blosc2.NDArray]:
    blosc2.set_nthreads(1)
    try:
        return tuple(blosc2.open(str(path / part), mode="r", mmap_mode="r") for part in (IMAGE, LABEL))
    except (OSError, RuntimeError) as error:
        raise InputError(path, f"{type(error).__name__} while reading", "a complete cached case", "run python -m uniseg.prepare") from error


@lru_cache(maxsize=64)
def _foreground(path: Path) -> dict[int, np.ndarray]:
    rows = np.load(path / FOREGROUND, mmap_mode="r")
    classes, starts, counts = np.unique(rows[:, 0], return_index=True, return_counts=True)
    return {int(k): rows[start : start + count, 1:] for k, start, count in zip(classes, starts, counts, strict=True)}


def write_case(folder: Path, entry: CaseEntry, image: np.ndarray, label: np.ndarray, task: Task) -> None:
    """Store ``image [M,Z,Y,X]`` with ``label [Z,Y,X]`` as case ``entry``; what another writer has finished meanwhile is kept."""
    final = folder / entry.case_id / entry.key
    final.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=final.parent, prefix=PART))
    try:
        _write_array(part / IMAGE, image.astype(np.float16))
        _write_array(part / LABEL, label.astype(np.int8 if label.max(initial=0) < 128 else np.int16))
        np.save(part / FOREGROUND, _sample_foreground(label, task))
        (part / CASE).write_text(json.dumps(asdict(entry)))
        os.replace(part, final)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        if not final.is_dir():
            raise


def read_entry(folder: Path, case_id: str, key: str) -> CaseEntry | None:
    """A finished case that was made from these files with these settings; None where there is none."""
    path = folder / case_id / key / CASE
    if not path.is_file():
        return None
    values = read_json(path)
    return CaseEntry(values["case_id"], values["patient_id"], tuple(values["shape"]), values["key"])


def write_task(folder: Path, task: Task, entries: Sequence[CaseEntry], splits: SplitTable) -> None:
    """Close the cache of a task; a folder with ``task.json`` is complete.

    Raises:
        InputError: a case is not there.
    """
    for entry in entries:
        if read_entry(folder, entry.case_id, entry.key) is None:
            path = folder / entry.case_id
            raise InputError(path, "a case that is gone", "the case that was written", "let nothing else clear the cache while it is written; prepare again")
    write_json(folder / "splits.json", splits.to_dict())
    write_json(folder / "task.json", {"format": FORMAT, "task": task.to_dict(), "cases": [asdict(entry) for entry in entries]})


def superseded(folder: Path) -> list[Path]:
    """Cases of other settings or files than ``task.json`` lists, with leftovers of killed writers."""
    keys = {(case["case_id"], case["key"]) for case in read_json(folder / "task.json")["cases"]}
    found = [path for path in folder.glob("*/*") if path.is_dir() and path.parent.name != FINGERPRINTS]
    old = time.time() - PART_DAYS * 86400
    return [path for path in found if (path.stat().st_mtime < old if path.name.startswith(PART) else (path.parent.name, path.name) not in keys)]


FINGERPRINTS = "fingerprints"


def write_fingerprint(folder: Path, case_id: str, key: str, fingerprint: CaseFingerprint) -> None:
    facts = {**asdict(fingerprint), "samples": None, "key": key}
    path = folder / FINGERPRINTS / f"{case_id}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=PART, delete=False) as part:
        np.savez(part, samples=fingerprint.samples, facts=np.array(json.dumps(facts)))
    os.replace(part.name, path)


def read_fingerprint(folder: Path, case_id: str, key: str) -> CaseFingerprint | None:
    """What was measured of the same files with the same settings; None where there is nothing."""
    path = folder / FINGERPRINTS / f"{case_id}.npz"
    if not path.is_file():
        return None
    with np.load(path) as content:
        facts = json.loads(str(content["facts"]))
        if facts.pop("key") != key:
            return None
        return CaseFingerprint(**facts | {"samples": content["samples"], "class_ml": tuple(facts["class_ml"]), "notes": tuple(facts.get("notes", ()))})


def read_json(path: Path) -> dict:
    """Raises InputError where the file is missing or is not JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(path, f"{type(error).__name__}", "a readable JSON file", "run python -m uniseg.prepare") from error


def write_json(path: Path, values: Mapping) -> None:
    """Atomically: a file that exists is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=PART, delete=False) as part:
        json.dump(values, part)
    os.replace(part.name, path)


def _sample_foreground(label: np.ndarray, task: Task) -> np.ndarray:
    """``[n,4]`` int16, rows (class, z, y, x) in the order of classes."""
    rng = np.random.default_rng(0)
    rows = [np.zeros((0, 4), np.int16)]
    for k, values in enumerate(task.class_values, start=1):
        flat = np.flatnonzero(np.isin(label, values))
        if len(flat) > MAX_FOREGROUND:
            flat = np.sort(rng.choice(flat, MAX_FOREGROUND, replace=False))
        voxels = np.stack(np.unravel_index(flat, label.shape), 1)
        rows.append(np.concatenate([np.full((len(voxels), 1), k), voxels], 1).astype(np.int16))
    return np.concatenate(rows)


def _write_array(path: Path, array: np.ndarray) -> None:
    """Blocks of 32 are what a reader unpacks, chunks of 64 what a writer packs at once."""
    chunks, blocks = ((*(1,) * (array.ndim - 3), *(min(n, side) for n in array.shape[-3:])) for side in (64, 32))
    parameters = {"codec": blosc2.Codec.LZ4, "clevel": 3, "nthreads": 1}
    blosc2.asarray(np.ascontiguousarray(array), urlpath=str(path), mode="w", chunks=chunks, blocks=blocks, cparams=parameters)
