"""One cached case on disk: written whole or not at all, verified, opened."""

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil
from pathlib import Path

import blosc2
import numpy as np

from uniseg.errors import InputError
from uniseg.files import PART, content_hash, read_json, sync_folder
from uniseg.task import IGNORE, Task

HIGHEST = float(np.finfo(np.float16).max)
MIN_FOREGROUND, MIN_COVERAGE = 10_000, 0.01  # voxels remembered per class, or this part of them if more (nnU-Net)
ANNOTATED = 0  # stands for a class, of all voxels that have a label
MOST_WRITERS = 3  # that put one case in place at the same moment
IMAGE, LABEL, FOREGROUND, CASE = "image.b2nd", "label.b2nd", "foreground.npy", "case.json"
PREPARE_AGAIN = "run uniseg prepare with the same experiment= or task="
# of a description with other values than ours
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True)
class CaseEntry:
    """What is known of a cached case without opening its files: shape (Z, Y, X), patient, the key of its settings.

    Examples:
        >>> CaseEntry.from_dict({"case_id": "a", "patient_id": "set/a", "shape": [3, 4, 5], "key": "0f"}).shape
        (3, 4, 5)
    """

    case_id: str
    patient_id: str
    shape: tuple[int, int, int]
    key: str

    @classmethod
    def from_dict(cls, values: Mapping) -> "CaseEntry":
        """From JSON.

        Raises:
            KeyError, TypeError, ValueError: not as it was written.
        """
        entry = cls(values["case_id"], values["patient_id"], tuple(values["shape"]), values["key"])
        named = isinstance(entry.patient_id, str) and all(
            Path(name).name == name for name in (entry.case_id, entry.key)
        )
        if not named or len(entry.shape) != 3 or not all(type(n) is int and n > 0 for n in entry.shape):
            raise ValueError(f"a case {values!r:.80}")
        return entry


def damaged(path: Path, error: BaseException) -> InputError:
    return InputError(path, f"{type(error).__name__} while reading", "a complete cached case", PREPARE_AGAIN)


def _open_arrays(path: Path, shape: tuple[int | None, ...]) -> tuple[blosc2.NDArray, blosc2.NDArray]:
    """Image of ``shape`` (M, Z, Y, X), where M may be None for any number, with its label.

    The files are not memory-mapped: reading beyond the end of one that was cut short would kill the process.

    Raises:
        InputError: a part is missing, unreadable, or of another shape.
    """
    one_thread = {"nthreads": 1}  # of this reader alone: blosc2.set_nthreads would be for the whole process
    try:
        image, label = (blosc2.open(str(path / part), mode="r", dparams=one_thread) for part in (IMAGE, LABEL))
        fits = image.ndim == 4 and shape[0] in (None, image.shape[0]) and image.shape[1:] == label.shape == shape[1:]
        if not fits or image.dtype != np.float16 or label.dtype not in (np.int8, np.int16):
            raise ValueError(f"arrays of {image.dtype} {image.shape} and {label.dtype} {label.shape}")
    except (OSError, RuntimeError, *MALFORMED) as error:
        raise damaged(path, error) from error
    return image, label


def _read_remembered(path: Path) -> dict[int, np.ndarray]:
    """Remembered voxels ``[n,3]`` per class, and under ``ANNOTATED``.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with (path / FOREGROUND).open("rb") as file:
            rows = np.load(file)
        if rows.dtype != np.int16 or rows.ndim != 2 or rows.shape[1] != 4:
            raise ValueError(f"rows of {rows.dtype} {rows.shape}")
    except (OSError, EOFError, *MALFORMED) as error:
        raise damaged(path / FOREGROUND, error) from error
    highest = int(rows[-1, 0]) if len(rows) else -1
    starts = np.searchsorted(rows[:, 0], range(highest + 2))  # rows are sorted by class
    return {k: rows[start:stop, 1:] for k, (start, stop) in enumerate(pairwise(starts)) if stop > start}


open_arrays, read_remembered = lru_cache(maxsize=64)(_open_arrays), lru_cache(maxsize=64)(_read_remembered)


def write_case(folder: Path, entry: CaseEntry, image: np.ndarray, label: np.ndarray, task: Task) -> None:
    """Store ``image [M,Z,Y,X]`` with ``label [Z,Y,X]`` as case ``entry``.

    What another writer has finished meanwhile is kept; a damaged folder is replaced.

    Raises:
        InputError: NaN or infinity in the image.
        OSError: no room or no permission; nothing is left of the case.
    """
    final = folder / entry.case_id / entry.key
    with np.errstate(over="ignore"):
        values = image.astype(np.float16)
    if not np.isfinite(values).all():
        found = f"{np.count_nonzero(~np.isfinite(values))} voxels of NaN or beyond {HIGHEST:.0f} after normalisation"
        fix = "correct the task's normalization, or the scan"
        raise InputError(f"task '{task.name}', case '{entry.case_id}'", found, "intensities that float16 can hold", fix)
    final.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=final.parent, prefix=PART))
    part.chmod(final.parent.stat().st_mode & 0o777)  # of mkdtemp none but its owner could read the cache
    try:
        contents = {
            IMAGE: _packed(values),
            LABEL: _packed(label.astype(np.int8 if label.max(initial=0) < 128 else np.int16)),
            FOREGROUND: _saved(_sample_foreground(label, task)),
        }
        records = {name: _write_part(part / name, content) for name, content in contents.items()}
        _write_part(part / CASE, json.dumps(asdict(entry) | {"parts": records}).encode())
        sync_folder(part)
        _put_in_place(part, final, entry, len(image))
        sync_folder(final.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _put_in_place(part: Path, final: Path, entry: CaseEntry, num_modalities: int) -> None:
    open_arrays.cache_clear()
    read_remembered.cache_clear()
    for attempt in range(MOST_WRITERS):
        try:
            os.replace(part, final)
            return
        except OSError:
            if read_entry(final.parents[1], entry.case_id, entry.key, num_modalities) == entry:
                return
            if attempt == MOST_WRITERS - 1:
                raise
            if final.is_dir():
                shutil.rmtree(final, ignore_errors=True)
            else:
                final.unlink(missing_ok=True)


def read_entry(folder: Path, case_id: str, key: str, num_modalities: int | None = None) -> CaseEntry | None:
    """A finished case that was made from these files with these settings; None where there is none, or a damaged one.

    A part is hashed only where its size is the recorded one but its time is not. A case of an earlier version has no
    record: it has to open, and its shapes to agree.

    Args:
        num_modalities: of the image; None: any number.
    """
    path = folder / case_id / key
    try:
        values = read_json(path / CASE, "a complete cached case", PREPARE_AGAIN)
        entry = CaseEntry.from_dict(values)
        if (entry.case_id, entry.key) != (case_id, key) or not _is_recorded(path, values.get("parts")):
            return None
        _open_arrays(path, (num_modalities, *entry.shape))
        _read_remembered(path)
    except (OSError, *MALFORMED):
        return None
    return entry


def _is_recorded(path: Path, parts: Mapping | None) -> bool:
    """Whether the parts are those that were written, as far as is known."""
    if parts is None:
        return True
    if set(parts) != {IMAGE, LABEL, FOREGROUND}:
        return False
    states = {name: (path / name).stat() for name in parts}
    if any(state.st_size != parts[name]["size"] for name, state in states.items()):
        return False
    changed = [name for name, state in states.items() if state.st_mtime_ns != parts[name]["mtime_ns"]]
    return all(content_hash(path / name) == parts[name]["sha256"] for name in changed)


def _sample_foreground(label: np.ndarray, task: Task) -> np.ndarray:
    """``[n,4]`` int16, rows (class, z, y, x) by class;

    ``ANNOTATED`` comes first where a part of the label is ignored.
    """
    rng = np.random.default_rng(0)
    rows = [np.zeros((0, 4), np.int16)]
    if label.min(initial=0) == IGNORE:
        rows.append(_sample_mask(ANNOTATED, label != IGNORE, rng))
    for k, values in enumerate(() if task.is_pretext else task.class_values, start=1):
        rows.append(_sample_mask(k, np.isin(label, values), rng))
    return np.concatenate(rows)


def _sample_mask(k: int, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    flat = np.flatnonzero(mask)
    number = max(MIN_FOREGROUND, ceil(MIN_COVERAGE * len(flat)))
    if len(flat) > number:
        flat = np.sort(rng.choice(flat, number, replace=False))
    voxels = np.stack(np.unravel_index(flat, mask.shape), 1)
    return np.concatenate([np.full((len(voxels), 1), k), voxels], 1).astype(np.int16)


def _packed(array: np.ndarray) -> bytes:
    """Blocks of 32 are what a reader unpacks, chunks of 64 what a writer packs at once."""
    chunks, blocks = ((*(1,) * (array.ndim - 3), *(min(n, side) for n in array.shape[-3:])) for side in (64, 32))
    parameters = {"codec": blosc2.Codec.LZ4, "clevel": 3, "nthreads": 1}
    return blosc2.asarray(np.ascontiguousarray(array), chunks=chunks, blocks=blocks, cparams=parameters).to_cframe()


def _saved(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _write_part(path: Path, content: bytes) -> dict[str, int | str]:
    """Onto the disk; returns what ``read_entry`` compares."""
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    return {"size": len(content), "mtime_ns": path.stat().st_mtime_ns, "sha256": hashlib.sha256(content).hexdigest()}
