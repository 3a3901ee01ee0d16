"""Where predictions lie, which of what lies there is ours, what must not be replaced."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from uniseg.errors import InputError

MERGED = "merged"
ENDING, PROBABILITIES = ".nii.gz", "_probabilities.nii.gz"
OWN_KEYS = {"checkpoint", "uniseg"}
ELSEWHERE = "move it away, or choose another output="


def label_path(output: Path, name: str, case_id: str) -> Path:
    """Of a task's label map, or of the merged one."""
    return output / name / f"{case_id}{ENDING}"


def json_path(label: Path) -> Path:
    """Beside the label map."""
    return label.with_name(label.name.removesuffix(ENDING) + ".json")


def probabilities_path(label: Path) -> Path:
    """Beside the label map."""
    return label.with_name(label.name.removesuffix(ENDING) + PROBABILITIES)


def read_own(path: Path) -> dict | None:
    """What the JSON at ``path`` says of our prediction beside it; None where nothing is there, or another's file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.keys() >= OWN_KEYS else None


def is_own_probabilities(path: Path) -> bool:
    """Whether ``path`` is what ``probabilities_path`` names, beside our JSON."""
    return (
        path.name.endswith(PROBABILITIES)
        and read_own(path.with_name(path.name.removesuffix(PROBABILITIES) + ".json")) is not None
    )


def require_free(planned: Mapping[Path, Iterable[Path]], inputs: Iterable[Path], tables: Iterable[Path] = ()) -> None:
    """Looks at everything that a call is going to write, ahead of all work.

    Args:
        planned: label map -> what is written beside it, its JSON included.
        inputs: all files and folders that the call reads.
        tables: written too; they may replace their like.

    Raises:
        InputError: one of them would replace an input, or a file that is not ours; two have one name; a folder cannot
            be written to.
    """
    read = {key for path in inputs if (key := _identity(path))}
    seen: set[Path] = set()
    for folder in sorted({path.parent for path in planned}):
        require_folder(folder)
    for label, beside in planned.items():
        is_ours = read_own(json_path(label)) is not None
        for path in (label, *beside):
            if path in seen:
                raise InputError(
                    path, "two scans whose predictions are called so", "a name for each", "rename one of the scans"
                )
            seen.add(path)
            _require_replaceable(path, read, is_ours=is_ours)
    for path in tables:
        _require_replaceable(path, read, is_ours=is_table(path))


def is_table(path: Path) -> bool:
    """Whether a colour table is ours, by its first line."""
    try:
        with path.open("rb") as file:
            return file.readline(200).rstrip() in TABLE_HEADS
    except OSError:
        return False


SLICER_HEAD, SNAP_HEAD = (
    "# Color table file, for 3D Slicer",
    "# ITK-SnAP Label Description File: IDX -R- -G- -B- -A-- VIS MSH LABEL",
)
TABLE_HEADS = (SLICER_HEAD.encode(), SNAP_HEAD.encode())


def _require_replaceable(path: Path, read: set[tuple[int, int]], *, is_ours: bool) -> None:
    if not os.path.lexists(path):
        return
    if _identity(path) in read:
        raise InputError(
            path,
            "a scan that is to be read, where a prediction would go",
            "another place for the predictions",
            "choose another output=",
        )
    if not is_ours or path.is_dir():
        raise InputError(
            path,
            "something that uniseg did not write, where a prediction would go",
            "nothing, or a prediction with its JSON",
            ELSEWHERE,
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """Of the file behind all its names."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def require_folder(folder: Path) -> None:
    place = Path(os.path.abspath(folder))
    while not os.path.lexists(place):
        place = place.parent
    if not os.path.isdir(place):
        raise InputError(place, "a file", "a folder for the predictions", ELSEWHERE)
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(
            place, "a folder that may not be written to", "one for the predictions", "choose another output="
        )
