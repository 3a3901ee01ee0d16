"""The text before the voxels in NRRD and MetaImage files."""

import re
from pathlib import Path

from uniseg.errors import InputError
from uniseg.images.image_file import FARTHEST_MM, RESTORE, refusing, require_content

READABLE = "a readable image file"
HEADER_BYTES = 1 << 20
# Of NRRD: ITK ends the process over one that it does not know from about 1,000 letters on;
# Slicer's key:=value are free.
LONGEST_FIELD = 500


def read_fields(path: Path, separator: str, last: str) -> tuple[dict[str, str], int]:
    """Fields by name, with the length of the header in bytes.

    Args:
        last: name of the field that ends the header; empty for NRRD, which ends with an empty line, and whose names
            count in lower case.

    Raises:
        InputError: unreadable, or no such end.
    """
    fields, length, missing = {}, 0, "an end of the header"
    require_content(path)
    with refusing(path, READABLE), path.open("rb") as file:
        for line in iter(lambda: file.readline(HEADER_BYTES), b""):
            length += len(line)
            if length > HEADER_BYTES:
                break
            name, _, value = line.decode("utf-8", "replace").strip().partition(separator)
            if not last and len(line) > LONGEST_FIELD and not line.startswith(b"#") and not value.startswith("="):
                raise InputError(
                    path, f"a field '{name[:40]}' of {len(line)} bytes", f"at most {LONGEST_FIELD}", "repair the header"
                )
            name = name.strip() if last else name.strip().lower()
            fields[name] = value.removeprefix("=").strip()
            if name == last:
                return fields, length
    if last or "data file" not in fields:
        raise InputError(path, f"no {last or 'empty line'} in the first {length} bytes", missing, RESTORE)
    return fields, length


def beside(path: Path, data: str) -> Path:
    """The file of voxels that a header names.

    Raises:
        InputError: no such file beside the header, or a path that leads elsewhere.
    """
    name = data.removeprefix("./")
    if not name.isprintable() or any(mark in name for mark in "/\\") or name in ("", ".."):
        fix = "put both files into one folder, and name it so"
        raise InputError(path, f"voxels in '{data}'", "the name of a file beside it", fix)
    data_path = path.parent / name
    if not data_path.is_file():  # lists or patterns of slices are no such file either
        fix = "restore it, or convert the scan into one file"
        raise InputError(path, f"voxels in '{data}', which is no file beside it", "one data file", fix)
    return data_path


def numbers(path: Path, name: str, text: str) -> list[float]:
    """
    Raises:
        InputError: something else, or numbers beyond all bounds.
    """
    return [number(path, name, word) for word in re.split(r"[\s,()]+", text) if word]


def number(path: Path, name: str, word: str) -> float:
    """
    Raises:
        InputError: as ``numbers``.
    """
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not abs(value) < FARTHEST_MM:
        raise InputError(path, f"'{word}' in {name.lower()}", f"numbers below {FARTHEST_MM:.0e}", "repair the header")
    return value


def whole(path: Path, name: str, word: str) -> int:
    """
    Raises:
        InputError: something else than a number of 0 or more.
    """
    if not word.isdecimal():
        raise InputError(path, f"'{word}' for {name}", "a whole number", "repair the header")
    return int(word)


def require_positive(path: Path, spacing: list[float]) -> None:
    """
    Raises:
        InputError: fewer than three numbers, or one of them is not positive.
    """
    if len(spacing) < 3 or min(spacing) <= 0:
        raise InputError(path, f"spacing {spacing}", "three positive numbers", "repair the header")
