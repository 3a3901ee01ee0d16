"""A data set as it was downloaded, a tar file, -> its folder, whole or not at all."""

import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from uniseg.errors import InputError
from uniseg.files import PART, require_file_name

ENDINGS = (".tar", ".tar.gz", ".tgz")
AGAIN = "download it again"


def unpack(archive: str | os.PathLike) -> tuple[Path, int]:
    """Unpack beside the archive; the folder appears whole. Returns it with the number of its files.

    What macOS adds (``._name``) is left out. A folder that is there already, and whole, stays as it is.

    Raises:
        InputError: no archive, a damaged one, one that holds links or leads out of its folder, several folders, or a
            folder of its name that is not whole.
    """
    path = Path(archive)
    if not path.is_file() or not is_archive(path):
        raise InputError(path, "no archive", f"a file {', '.join(ENDINGS)}", "correct unpack=")
    part = path.with_name(f"{PART}{os.getpid()}_{path.name}")
    try:
        with _bar(path) as members:
            return _unpack(path, members, part)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def is_archive(path: Path) -> bool:
    """Whether the name says so."""
    return path.name.lower().endswith(ENDINGS)


def archives_in(folder: Path) -> list[Path]:
    """The archives in a folder, by name."""
    return sorted(path for path in folder.iterdir() if is_archive(path) and not path.name.startswith("."))


def _unpack(path: Path, members: Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]], part: Path) -> tuple[Path, int]:
    """The work of ``unpack``; ``part`` is where the folder lies until it is whole."""
    top, number, missing = "", 0, []
    for tar, member in members:
        parts = PurePosixPath(member.name).parts
        if not parts or parts[-1].startswith("._") or parts[-1] == ".DS_Store":
            continue
        top = top or require_file_name(path, "folder", parts[0])
        if parts[0] != top or (len(parts) == 1 and not member.isdir()):
            raise InputError(path, f"'{member.name}' beside '{top}'", "one folder with everything", "unpack it by hand")
        if not member.isreg() and not member.isdir():
            raise InputError(path, f"'{member.name}', a link or device", "files and folders", AGAIN)
        number += member.isreg()
        there = path.parent / member.name
        if (path.parent / top).exists():
            missing += [] if _is_there(there, member) else [member.name]
        else:
            tar.extract(member, part, filter="data")
    if not number:
        raise InputError(path, "no file inside", "a data set", AGAIN)
    target = path.parent / top
    if target.exists():
        if missing:
            found = f"{len(missing)} of {number} files missing or of another size, as {missing[0]}"
            raise InputError(target, found, f"all of {path.name}", "move the folder away, then unpack again")
        return target, number
    os.replace(part / top, target)
    return target, number


def _is_there(path: Path, member: tarfile.TarInfo) -> bool:
    return path.is_dir() if member.isdir() else path.is_file() and path.stat().st_size == member.size


@contextmanager
def _bar(path: Path) -> Iterator[Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]]:
    """The members, each with its archive, behind a bar on stderr that counts the bytes of the archive.

    Raises:
        InputError: a damaged archive, or one that leads out of its folder.
    """
    columns = (TextColumn("unpack {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        with (
            path.open("rb") as file,
            tarfile.open(fileobj=file) as tar,
            Progress(*columns, console=Console(stderr=True)) as progress,
        ):
            bar = progress.add_task(path.name, total=path.stat().st_size)

            def members() -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
                for member in tar:
                    yield tar, tarfile.data_filter(member, str(path.parent))
                    progress.update(bar, completed=file.tell())

            yield members()
    except tarfile.FilterError as error:
        found = f"'{error.tarinfo.name}', which leads out of its folder or is no plain file"
        raise InputError(path, found, "files inside one folder", "do not unpack it") from error
    except (tarfile.TarError, EOFError, zlib.error, BadGzipFile) as error:
        found = f"a damaged archive ({type(error).__name__}: {' '.join(str(error).split())})"
        raise InputError(path, found, "a whole one", AGAIN) from error
