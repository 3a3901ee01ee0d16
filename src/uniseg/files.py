"""Files and folders: written whole or not at all, read with one clear line where they are wrong; names that may become
files.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any, TypeVar

from uniseg.errors import InputError

T = TypeVar("T")
MALFORMED = (ArithmeticError, AttributeError, IndexError, RecursionError, TypeError, ValueError)
PART = ".part"  # begins the name of what is being written
OLD = ".old"  # begins the name of a folder that is being replaced
LONGEST_NAME = 100  # bytes, which leaves room for endings
# stand beside folders that are named after tasks or cases
TASK_FILE = "task.json"  # completes the cache of a task
OWN_NAMES = ("merged", "fingerprints", TASK_FILE, "splits.json", "preview.png")


@contextmanager
def write_atomically(path: str | os.PathLike) -> Iterator[Path]:
    """A path beside ``path`` to write to; what was written is renamed to ``path`` at the end, or removed after an
    error.

    Example:
        >>> with write_atomically("scores.csv") as part:
        ...     _ = part.write_text("case,dice")

    Raises:
        OSError: with the name of the file; what was at ``path`` is still there.
    """
    path = Path(path)
    part = path.with_name(f"{PART}{os.getpid()}_{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _sync(part)
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        if os.path.exists(part):  # not where the folder is a file: the first error tells more
            part.unlink()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to fill; at the end it takes the place of what was there, after an error it is
    removed.

    Raises:
        OSError: with the name of the folder; what was there is still there.
    """
    part, old = (folder.with_name(f"{what}{os.getpid()}_{folder.name}") for what in (PART, OLD))
    try:
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            os.replace(folder, old)  # a folder that is not empty cannot be replaced
        os.replace(part, folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        shutil.rmtree(old, ignore_errors=True)


def sync_folder(folder: str | os.PathLike) -> None:
    """The names in a folder onto the disk, where the system can: Windows opens no folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Atomically, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike, content: bytes | memoryview) -> None:
    """Atomically."""
    with write_atomically(path) as part:
        part.write_bytes(content)


def remove_parts(path: Path) -> None:
    """Remove what killed writers of the file left beside it; for a folder that one process writes to."""
    former = path.with_name(f"{path.name}.tmp")  # so earlier versions named a part
    for part in (*path.parent.glob(f"{PART}*_{escape(path.name)}"), former):
        part.unlink(missing_ok=True)


def content_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | os.PathLike, values: object) -> None:
    """Atomically, for a person to read; NaN becomes null."""
    write_text(path, json.dumps(_null_for_nan(values), indent=1))


def read_json(path: str | os.PathLike, expected: str, fix: str, kind: type = dict) -> Any:
    """The content of a JSON file, of type ``kind``.

    Args:
        expected: what the file should be, for the message.
        fix: what to do where it is not.

    Raises:
        InputError: missing, unreadable, no JSON, or of another type.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(path, error.strerror or str(error), expected, fix) from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"no JSON ({' '.join(str(error).split())[:100]})", expected, fix) from error
    if not isinstance(content, kind):
        raise InputError(path, f"a {type(content).__name__}", expected, fix)
    return content


def read_record(path: str | os.PathLike, make: Callable[[Any], T], expected: str, fix: str, kind: type = dict) -> T:
    """``make(content)`` of a JSON file, whose entries may be missing or of other types.

    Args:
        expected, fix, kind: as of ``read_json``.

    Raises:
        InputError: as ``read_json``; an entry is missing, or ``make`` refuses a value.
    """
    content = read_json(path, expected, fix, kind)
    try:
        return make(content)
    except KeyError as error:
        raise InputError(path, f"no entry {error}", expected, fix) from error
    except MALFORMED as error:
        reason = f"{type(error).__name__} ({' '.join(str(error).split())})"
        raise InputError(path, reason, expected, fix) from error


def require_text(value: Any) -> str:
    """``value`` of a file's entry, where it is text.

    Raises:
        TypeError: it is of another type.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60}, which is no text")
    return value


def require_file_name(where: object, what: str, name: object) -> str:
    """``name``, if it can name a file or folder of ours on every system and leads nowhere else.

    Args:
        where: the file that holds the name, for the message.
        what: what is called so: task, case.

    Raises:
        InputError: no text, empty, longer than 100 bytes, with a separator or a character that cannot be printed, with
            a leading dot, or a name that we use ourselves.
    """
    if not isinstance(name, str):
        raise InputError(
            where, f"{what} {name!r:.60} of type {type(name).__name__}", "a name", "put it in quotes, or rename it"
        )
    fits = (
        bool(name)
        and len(name.encode(errors="replace")) <= LONGEST_NAME
        and name.isprintable()
        and name[0] != "."
        and name == name.strip()
    )
    if not fits or any(separator in name for separator in "/\\") or name in OWN_NAMES:
        expected = (
            f"one printable file name of at most {LONGEST_NAME} bytes, no leading dot, none of {', '.join(OWN_NAMES)}"
        )
        raise InputError(where, f"{what} '{name[:80]}'", expected, f"rename the {what}")
    return name


def _sync(path: Path) -> None:
    """To the disk before the rename, so that a crash of the machine leaves the old file or the new."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _null_for_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _null_for_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_null_for_nan(inner) for inner in value]
    return None if isinstance(value, float) and value != value else value
