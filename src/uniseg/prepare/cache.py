"""The cache on disk: per case two chunked arrays with a description, read box by box."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import blosc2
import numpy as np

from uniseg.errors import InputError
from uniseg.prepare.splits import SplitTable
from uniseg.task import Task

FORMAT = 1
MAX_FOREGROUND = 2000  # voxels remembered per class


@dataclass(frozen=True)
class CaseEntry:
    """What is known of a cached case without opening its arrays: shape (Z, Y, X), patient, foreground voxels per class ``{k: [n,3]}``."""

    case_id: str
    patient_id: str
    shape: tuple[int, int, int]
    foreground: Mapping[int, np.ndarray]


class TaskCache:
    """The cached cases of one task.

    Args:
        folder: holds ``task.json``, ``<case>.json``, ``<case>.image.b2nd`` and ``<case>.label.b2nd``.

    Raises:
        InputError: the folder was not prepared.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.description = read_json(self.folder / "task.json")
        self.task = Task.from_dict(self.description["task"])
        self.splits = SplitTable.from_dict(read_json(self.folder / "splits.json"))

    @cached_property
    def entries(self) -> dict[str, CaseEntry]:
        return {case_id: self._entry(case_id) for case_id in self.description["cases"]}

    def _entry(self, case_id: str) -> CaseEntry:
        values = read_json(self.folder / f"{case_id}.json")
        foreground = {int(k): np.asarray(v, np.int16).reshape(-1, 3) for k, v in values["foreground"].items()}
        return CaseEntry(case_id, values["patient_id"], tuple(values["shape"]), foreground)

    def read_box(self, case_id: str, start: Sequence[int], stop: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Image ``[M,z,y,x]`` float32 and label ``[z,y,x]`` int16 between two corners inside the case."""
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        image, label = _open(self.folder, case_id)
        return image[(slice(None), *box)].astype(np.float32), label[box].astype(np.int16)


@lru_cache(maxsize=64)
def _open(folder: Path, case_id: str) -> tuple[blosc2.NDArray, blosc2.NDArray]:
    blosc2.set_nthreads(1)
    return tuple(blosc2.open(str(folder / f"{case_id}.{part}.b2nd"), mode="r", mmap_mode="r") for part in ("image", "label"))


def write_case(folder: Path, case_id: str, patient_id: str, image: np.ndarray, label: np.ndarray, key: str) -> None:
    """Store ``image [M,Z,Y,X]`` as float16 with ``label [Z,Y,X]``; the description comes last, so a case that has one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_array(folder / f"{case_id}.image.b2nd", image.astype(np.float16))
    _write_array(folder / f"{case_id}.label.b2nd", label.astype(np.int8 if label.max(initial=0) < 128 else np.int16))
    rng = np.random.default_rng(0)
    foreground = {}
    for value in np.unique(label):
        if value > 0:
            voxels = np.argwhere(label == value)
            foreground[int(value)] = voxels[np.sort(rng.permutation(len(voxels))[:MAX_FOREGROUND])].ravel().tolist()
    write_json(folder / f"{case_id}.json", {"key": key, "patient_id": patient_id, "shape": label.shape, "foreground": foreground})


def is_current(folder: Path, case_id: str, key: str) -> bool:
    """Whether a finished case was made from the same files with the same settings."""
    path = folder / f"{case_id}.json"
    return path.exists() and read_json(path)["key"] == key


def write_task(folder: Path, task: Task, cases: Sequence[str], splits: SplitTable) -> None:
    """Close the cache of a task; a folder with ``task.json`` is complete."""
    write_json(folder / "splits.json", splits.to_dict())
    write_json(folder / "task.json", {"format": FORMAT, "task": task.to_dict(), "cases": list(cases)})


def read_json(path: Path) -> dict:
    """Raises InputError where the file is missing or is not JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(path, f"{type(error).__name__}", "a readable JSON file", "run python -m uniseg.prepare") from error


def write_json(path: Path, values: Mapping) -> None:
    """Atomically: a file that exists is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".part", delete=False) as part:
        json.dump(values, part)
    os.replace(part.name, path)


def _write_array(path: Path, array: np.ndarray) -> None:
    part = path.with_name(f".part{os.getpid()}_{path.name}")
    chunks = (*(1,) * (array.ndim - 3), *(min(n, 32) for n in array.shape[-3:]))
    blosc2.asarray(np.ascontiguousarray(array), urlpath=str(part), mode="w", chunks=chunks, cparams={"codec": blosc2.Codec.LZ4, "clevel": 3, "nthreads": 1})
    os.replace(part, path)
