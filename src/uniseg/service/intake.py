"""The bytes of an upload -> files that may be read: kinds, zips, packed voxels, all within the limits.

Nothing of what a client sent becomes a path: files are numbered, names are for messages.
"""

import math
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from uniseg.errors import InputError
from uniseg.images.dicom_file import is_dicom, is_foreign, read_tags
from uniseg.images.files import open_image
from uniseg.images.text_header import read_fields
from uniseg.service.refusal import TOO_LARGE, UNUSABLE, RefusedError, without_paths
from uniseg.service.settings import ServiceSettings
from uniseg.service.store import Incoming

ZIP, SERIES = ".zip", "series"
NIFTI_PACKED, NRRD = ".nii.gz", ".nrrd"
ENDINGS = (NIFTI_PACKED, ".nii", NRRD, ZIP)
CHUNK = 1 << 20
# a name in the directory of a zip may have 65,535 bytes; so many on average are enough for any DICOM export
DIRECTORY_BYTES_PER_FILE = 1024
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the memory that others unpack into is the file's to choose
DEFLATED_DICOM = b"1.2.840.10008.1.2.1.99"  # pydicom unpacks such a file whole, whatever its size
HIDDEN_FOLDER = "__MACOSX"
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)


def ending_of(name: str) -> str:
    """What a client's name says of the kind of file.

    Raises:
        RefusedError: no kind that is taken.
    """
    ending = next((each for each in ENDINGS if name.lower().endswith(each)), None)
    if ending is None:
        expected = f"a name that ends in {', '.join(ENDINGS[:-1])}, or {ZIP} of a DICOM series"
        fix = "convert the scan, or zip the series"
        raise RefusedError(415, f"filename '{name[-60:]}'", "another ending", expected, fix)
    return ending


def received_name(ending: str) -> str:
    """Of the file into which the bytes of an upload go, in its folder."""
    return f"scan{ending}"


def accept(incoming: Incoming, ending: str, settings: ServiceSettings) -> str:
    """Check what came in, unpack a zip; the name of the scan in the folder.

    Raises:
        RefusedError: beyond a limit, damaged, or nothing that can be read.
    """
    path = incoming.folder / received_name(ending)
    with _refusing(incoming):
        if ending == ZIP:
            folder = incoming.folder / SERIES
            folder.mkdir()
            _unpack(path, folder, incoming, settings)
            incoming.release(path.stat().st_size)
            path.unlink()
            _require_voxels(sum(_voxels_of_slices(each) for each in sorted(folder.iterdir())), incoming.name, settings)
            return SERIES
        start = _packed_start(path, ending)
        _require_voxels(math.prod(open_image(path).shape), incoming.name, settings)
        if start is not None:
            _require_unpacked(path, start, incoming.name, settings)
        return path.name


@contextmanager
def _refusing(incoming: Incoming) -> Iterator[None]:
    """Whatever is wrong with the file is told without the paths of this machine."""
    try:
        yield
    except InputError as error:
        names = {incoming.folder / received_name(ending): incoming.name for ending in ENDINGS}
        names[incoming.folder / SERIES] = incoming.name
        where, found = (without_paths(text, names) for text in (error.where, error.found))
        raise RefusedError(UNUSABLE, where, found, error.expected, error.fix) from error


def _packed_start(path: Path, ending: str) -> int | None:
    """Where packed voxels begin; None where they are not packed."""
    if ending == NIFTI_PACKED:
        return 0
    if ending != NRRD:
        return None
    fields, length = read_fields(path, ":", last="")
    if "data file" in fields or "datafile" in fields:
        raise InputError(path, "voxels in another file", "header and voxels in one file", "save it as one .nrrd")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(path, f"encoding '{encoding[:40]}'", "raw or gzip", "save it again")
    return None if encoding == "raw" else length


def _require_voxels(number: float, name: str, settings: ServiceSettings) -> None:
    if number > settings.max_megavoxels * 1e6:
        found, expected = f"{number / 1e6:.0f} million voxels", f"at most {settings.max_megavoxels:g} million"
        raise RefusedError(TOO_LARGE, name, found, expected, "crop the scan, or ask who runs the service for more")


def _require_unpacked(path: Path, start: int, name: str, settings: ServiceSettings) -> None:
    """The stream has an end, within the limit; a piece at a time."""
    unpacked, unpacker = 0, zlib.decompressobj(zlib.MAX_WBITS | 32)
    with path.open("rb") as file:
        file.seek(start)
        try:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                while chunk:
                    if unpacker.eof:
                        chunk, unpacker = chunk.lstrip(b"\0"), zlib.decompressobj(zlib.MAX_WBITS | 32)
                        continue
                    unpacked += len(unpacker.decompress(chunk, CHUNK))
                    chunk = unpacker.unconsumed_tail or unpacker.unused_data
                    if unpacked > settings.max_unpacked_bytes:
                        raise _too_large(name, settings)
        except zlib.error as error:
            raise InputError(path, f"damaged voxels ({error})", "a complete file", "upload it again") from error
    if not unpacker.eof:
        raise InputError(path, "packed voxels that end early", "a complete file", "upload it again")


def _too_large(name: str, settings: ServiceSettings) -> RefusedError:
    found, expected = "more, unpacked", f"at most {settings.max_unpacked_gb:g} GB unpacked"
    return RefusedError(TOO_LARGE, name, found, expected, "ask who runs the service for more")


def _unpack(path: Path, folder: Path, incoming: Incoming, settings: ServiceSettings) -> None:
    """The DICOM files of a zip as 00001.dcm, 00002.dcm, ...; whatever they were called, and in no folders."""
    try:
        with zipfile.ZipFile(_require_directory(path, incoming.name, settings)) as archive:
            members = [member for member in archive.infolist() if _is_file(member)]
            if len(members) > settings.max_files:
                raise _too_many(f"{len(members)} files", incoming.name, settings)
            left = settings.max_unpacked_bytes
            for number, member in enumerate(members, 1):
                if member.compress_type not in METHODS or member.flag_bits & 1:
                    found, fix = f"'{member.filename[:60]}', encrypted or packed in another way", "zip the series again"
                    raise InputError(path, found, "files that are stored or deflated", fix)
                target = folder / f"{number:05d}.dcm"
                with archive.open(member) as source:
                    left -= _copy(source, target, left, incoming, settings)
                _keep_dicom(target, member.filename, path)
    except DAMAGED as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(path, f"a damaged zip ({reason})", "a zip of a DICOM series", "upload it again") from error
    if not any(folder.iterdir()):
        raise InputError(path, "no DICOM file", "a zip of a DICOM series", "zip the folder of the slices")


def _require_directory(path: Path, name: str, settings: ServiceSettings) -> Path:
    """Python holds the whole directory of a zip in memory, so that its size is looked at first."""
    with path.open("rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end is None:
        raise InputError(path, "no end of a zip", "a zip of a DICOM series", "upload it again")
    size, count = end[zipfile._ECD_SIZE], end[zipfile._ECD_ENTRIES_TOTAL]  # type: ignore[attr-defined]
    if size > DIRECTORY_BYTES_PER_FILE * settings.max_files:
        raise _too_many(f"a directory of {size} bytes, for {count} files", name, settings)
    return path


def _too_many(found: str, name: str, settings: ServiceSettings) -> RefusedError:
    return RefusedError(TOO_LARGE, name, found, f"at most {settings.max_files} files", "zip one series alone")


def _is_file(member: zipfile.ZipInfo) -> bool:
    """Neither a folder, nor a link, nor what systems hide."""
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    parts = member.filename.split("/")
    return not (member.is_dir() or is_link or parts[-1].startswith(".") or HIDDEN_FOLDER in parts)


def _copy(source: IO[bytes], target: Path, most: int, incoming: Incoming, settings: ServiceSettings) -> int:
    """The number of bytes, counted as they come: what a directory says of them may be wrong."""
    written, last = 0, b""
    with target.open("wb") as file:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > most:
                raise _too_large(incoming.name, settings)
            if DEFLATED_DICOM in last + chunk:
                found, fix = "a deflated DICOM file", "export the series without compression, or as lossless JPEG"
                raise InputError(incoming.name, found, "pixels that are packed alone", fix)
            last = chunk[-len(DEFLATED_DICOM) :]
            incoming.reserve(len(chunk))
            file.write(chunk)
    return written


def _keep_dicom(target: Path, name: str, path: Path) -> None:
    """What is no DICOM by name and content goes; what is none by content alone may have been a slice."""
    if is_dicom(target):
        return
    if not is_foreign(Path(name)) and Path(name).name != "DICOMDIR":
        raise InputError(path, f"'{name[-60:]}', which is no DICOM file", "the slices of a series", "zip them again")
    target.unlink()


def _voxels_of_slices(path: Path) -> float:
    tags = read_tags(path, ["Rows", "Columns", "NumberOfFrames"], is_bare=True)
    return math.prod((tags.numbers(name) or [1])[0] for name in ("Rows", "Columns", "NumberOfFrames"))
