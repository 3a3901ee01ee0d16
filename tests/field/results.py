"""What commands leave behind: which files are there, whether each is whole, whether two runs left the same."""

import csv
import gzip
import hashlib
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import blosc2
import numpy as np
import torch
import yaml
from safetensors import safe_open

# keys that differ between equal runs
VOLATILE = ("stages_s", "time", "date", "commit", "seconds", "mtime_ns", "modified")

FOLDER = ("folder",)
Snapshot = dict[str, tuple]


def snapshot(root: Path) -> Snapshot:
    """Relative path -> kind, and of what is no folder: size, time of change."""
    found: Snapshot = {}
    for path in root.rglob("*"):
        stat = path.lstat()
        is_folder = path.is_dir() and not path.is_symlink()
        found[str(path.relative_to(root))] = FOLDER if is_folder else ("file", stat.st_size, stat.st_mtime_ns)
    return found


def changed(before: Snapshot, after: Snapshot) -> tuple[list[str], list[str]]:
    """(added, changed or removed)."""
    return sorted(after.keys() - before.keys()), sorted(
        path for path, state in before.items() if after.get(path) != state
    )


def fault(path: Path) -> str | None:
    """Why a file is not whole; None where it is, or where its kind is not known."""
    check = next((check for ending, check in CHECKS.items() if path.name.endswith(ending)), None)
    try:
        if check is not None:
            check(path)
    except Exception as error:
        return f"{path.name}: {type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return None


def _nifti(path: Path) -> None:
    content = gzip.decompress(path.read_bytes())
    dimensions, (bits,), (offset,) = (
        struct.unpack_from("<8h", content, 40),
        struct.unpack_from("<h", content, 72),
        struct.unpack_from("<f", content, 108),
    )
    needed = int(offset) + int(np.prod(dimensions[1 : 1 + dimensions[0]])) * bits // 8
    if len(content) < needed:
        raise ValueError(f"{len(content)} bytes of {needed}")


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(damaged)


def _safetensors(path: Path) -> None:
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118, no mapping
            file.get_tensor(name)


def _table(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, strict=True))
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("rows of different lengths")


CHECKS: dict[str, Callable[[Path], object]] = {
    ".nii.gz": _nifti,
    ".json": lambda path: json.loads(path.read_bytes()),
    ".yaml": lambda path: list(yaml.safe_load_all(path.read_text(encoding="utf-8"))),
    "metrics.csv": lambda path: path.read_text(encoding="utf-8"),  # of the logger: a row is appended at a time
    ".csv": _table,
    ".ckpt": _zip,
    ".npz": _zip,
    ".npy": lambda path: np.load(path),
    ".safetensors": _safetensors,
    ".b2nd": lambda path: blosc2.open(str(path))[:],
}


def digest(path: Path) -> dict[str, str]:
    """Relative path -> hash of what matters, of the files of results below a folder."""
    found = {}
    for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
        read = next((read for ending, read in CONTENTS.items() if each.name.endswith(ending)), None)
        if (
            read is not None
            and each.is_file()
            and not any(part.startswith(".") for part in each.relative_to(path).parts)
        ):
            found[str(each.relative_to(path))] = hashlib.sha256(read(each)).hexdigest()[:16]
    return found


def _tensors(path: Path) -> bytes:
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return b"".join(name.encode() + state[name].numpy().tobytes() for name in sorted(state))


CONTENTS: dict[str, Callable[[Path], bytes]] = {
    ".nii.gz": lambda path: gzip.decompress(path.read_bytes()),
    "scores.csv": Path.read_bytes,
    ".safetensors": Path.read_bytes,
    ".b2nd": lambda path: np.ascontiguousarray(blosc2.open(str(path))[:]).tobytes(),
    ".npy": Path.read_bytes,
    ".ckpt": _tensors,
    "metrics.json": lambda path: json.dumps(_steady(json.loads(path.read_bytes())), sort_keys=True).encode(),
    "report.html": lambda path: b"",
}


def _steady(value: object) -> object:
    if isinstance(value, dict):
        return {key: _steady(own) for key, own in value.items() if key not in VOLATILE}
    return [_steady(own) for own in value] if isinstance(value, list) else value
