"""What tells a scan from another of its name: sizes and times of the files that hold it."""

import hashlib
import os
import re
from pathlib import Path

from uniseg.errors import InputError
from uniseg.images.dicom_file import is_dicom
from uniseg.images.files import ENDINGS
from uniseg.images.segmentation_files import RTSTRUCT, SEG_DICOM

DETACHED = (".mhd", ".nhdr")  # headers whose voxels lie in another file
DATA_FILE = re.compile(rb"^(?:elementdatafile\s*=|data ?file\s*:)\s*([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
HEADER_BYTES = 1 << 20
OURS = (*ENDINGS, SEG_DICOM, RTSTRUCT, ".json")  # what a prediction may leave in a folder of slices


def stamp(*paths: str | os.PathLike) -> dict[str, int | str]:
    """Bytes and latest modification, in ns since 1970, of what is read of an image, or of the masks of a label.

    Where that are several files, the slices of a DICOM folder, a header with its voxels, one mask per class, ``files``
    is a hash of the name, size and time of each.

    Raises:
        InputError: the file or folder is not there, or may not be looked at.
    """
    try:
        stats = {member.name: member.stat() for path in paths for member in _files(Path(path))}
    except OSError as error:
        where = error.filename or paths[0]
        raise InputError(where, error.strerror or str(error), "an image", "check the path") from error
    stamped: dict[str, int | str] = {
        "bytes": sum(member.st_size for member in stats.values()),
        "mtime_ns": max((member.st_mtime_ns for member in stats.values()), default=0),
    }
    if len(stats) != 1:
        lines = [f"{name}\0{member.st_size}\0{member.st_mtime_ns}" for name, member in sorted(stats.items())]
        stamped["files"] = hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]
    return stamped


def _is_slice(path: Path) -> bool:
    return path.is_file() and not path.name.lower().endswith(ENDINGS) and is_dicom(path)


def _files(path: Path) -> list[Path]:
    folder = path if path.is_dir() else path.parent if _is_slice(path) else None
    if folder is not None:
        return [
            member
            for member in folder.iterdir()
            if member.is_file() and not member.name.startswith(".") and not member.name.endswith(OURS)
        ]
    if not path.name.lower().endswith(DETACHED):
        return [path]
    with path.open("rb") as file:
        match = DATA_FILE.search(file.read(HEADER_BYTES))
    voxels = path.parent / os.fsdecode(match.group(1).strip()) if match else path
    return [path, voxels] if voxels != path and "\0" not in str(voxels) and voxels.is_file() else [path]
