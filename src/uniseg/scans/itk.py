"""NRRD (with Slicer's segmentations) or MetaImage files, through SimpleITK.

ITK replaces numbers that it cannot read by 0 or 1, takes the sign off a spacing, and of some damage complains on the
process's standard error alone, so the header's text and the packed voxels are checked first.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

import numpy as np
import SimpleITK

from uniseg.errors import InputError
from uniseg.scans.stored import FARTHEST_MM, RESTORE, Stored, inflate, refusing, require_bytes, require_content

READABLE = "a readable image file"
HEADER_BYTES = 1 << 20
NRRD_SPACES = {"LPS", "RAS", "LAS", "left-posterior-superior", "right-anterior-superior", "left-anterior-superior"}
META_NUMBERS = {  # as many numbers as axes to the power of
    **dict.fromkeys(("DimSize", "ElementSpacing", "ElementSize", "Offset", "Origin", "Position", "CenterOfRotation"), 1),
    **dict.fromkeys(("TransformMatrix", "Rotation", "Orientation"), 2),
}
META_NEEDED = ("NDims", "DimSize", "ElementType")
HERE = ("LOCAL", "Local", "local")
LABEL_VALUE = re.compile(r"segment\d+_labelvalue")


class Packing(Enum):
    """How voxels are stored: as in memory, by zlib or gzip, or in a way whose size in memory only ITK knows."""

    RAW = auto()
    DEFLATED = auto()
    OTHER = auto()


NRRD_PACKINGS = {"raw": Packing.RAW, "gzip": Packing.DEFLATED, "gz": Packing.DEFLATED}


@dataclass(frozen=True)
class Header:
    """What the text ahead of the voxels says.

    Attributes:
        fields: name -> value; of NRRD, whose names may be written either way, in lower case.
        data_path: file with the voxels.
        start: where they begin there.
        packing: how they are stored.
    """

    fields: dict[str, str]
    data_path: Path
    start: int
    packing: Packing

    def num_bytes(self) -> int:
        """Of the voxels as stored."""
        return self.data_path.stat().st_size - self.start

    def unpacked_bytes(self) -> int:
        """Of the voxels as they will be in memory, their checksum being right; needs RAW or DEFLATED."""
        if self.packing is Packing.RAW:
            return self.num_bytes()
        return inflate(self.data_path, self.start, into=np.empty(0, np.uint8))


def open_nrrd(path: Path) -> Stored:
    """A ``.nrrd`` or ``.nhdr`` file; a list axis holds modalities. A space that is not stated counts as LPS, as in ITK.

    Raises:
        InputError: unreadable, truncated, without a usable geometry.
    """
    return _open(path, _nrrd_header(path), "NrrdImageIO")


def open_meta(path: Path) -> Stored:
    """A ``.mha`` or ``.mhd`` file; channels are modalities.

    Raises:
        InputError: as ``open_nrrd``.
    """
    return _open(path, _meta_header(path), "MetaImageIO")


def open_segmentation(path: Path) -> Stored:
    """A ``.seg.nrrd`` of 3D Slicer as one label map of the segments' LabelValue.

    Raises:
        InputError: as ``open_nrrd``; segments in several layers, or voxels of no segment.
    """
    header = _nrrd_header(path)
    stored = _open(path, header, "NrrdImageIO")
    if len(stored.shape) != 3:
        fix = "export the segments as one label map"
        raise InputError(path, f"{stored.shape[3]} layers of overlapping segments", "one layer, where no two segments share a voxel", fix)
    listed = {_number(path, name, value) for name, value in header.fields.items() if LABEL_VALUE.fullmatch(name)}

    def load() -> np.ndarray:
        values = stored.load()
        unknown = sorted({float(value) for value in np.unique(values)} - listed - {0.0})
        if listed and unknown:
            raise InputError(path, f"voxels of value {unknown[0]:g}", f"the segments' {sorted(listed)}", "save the segmentation again")
        return values

    return replace(stored, load=load, is_extract=True)


def _open(path: Path, header: Header, image_io: str) -> Stored:
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    with refusing(path, READABLE):
        reader.ReadImageInformation()
        size = reader.GetSize()
        dimension, components = len(size), reader.GetNumberOfComponents()
        kind = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    shape = (*size, components) if components > 1 else tuple(size)
    if len(shape) not in (3, 4) or dimension < 3:
        raise InputError(path, f"shape {shape}", "three dimensions (or four, modalities last)", "give one volume per file")
    bits = re.search(r"(\d+)-bit", kind)
    if bits is None or "complex" in kind:
        raise InputError(path, f"voxels of type {kind}", "real numbers", "convert the file")
    claimed = float(np.prod(shape, dtype=np.float64)) * int(bits.group(1)) / 8
    require_bytes(path, claimed, header.num_bytes(), packed=header.packing is not Packing.RAW)
    direction = np.reshape(reader.GetDirection(), (dimension, dimension))
    if dimension == 4 and (direction[3, :3].any() or direction[:3, 3].any()):
        raise InputError(path, "a fourth axis that leans into space", "modalities along the fourth axis", "convert the file")
    affine = np.eye(4)
    with np.errstate(all="ignore"):
        affine[:3, :3] = direction[:3, :3] * reader.GetSpacing()[:3]
    affine[:3, 3] = reader.GetOrigin()[:3]

    def load() -> np.ndarray:
        with refusing(path, READABLE):
            held = claimed if header.packing is Packing.OTHER else header.unpacked_bytes()
        if held != claimed:  # ITK would leave the rest of the array as it finds it
            raise InputError(path, f"{held} bytes of voxels", f"{claimed:.0f}, as the header says", RESTORE)
        with refusing(path, READABLE):
            values = SimpleITK.GetArrayFromImage(reader.Execute())
        return values.transpose(2, 1, 0, 3) if components > 1 else values.transpose()

    affine[:2] *= -1  # LPS to RAS
    return Stored(path, shape, affine, load)


def _meta_header(path: Path) -> Header:
    """Strict in what ITK's reader would tell on standard error alone."""
    fields, length = _fields(path, "=", last="ElementDataFile")
    missing = [name for name in META_NEEDED if name not in fields]
    if missing:
        raise InputError(path, f"no {missing[0]}", f"a header with {', '.join(META_NEEDED)}", RESTORE)
    axes = _whole(path, "NDims", fields["NDims"])
    if axes not in (3, 4):  # ITK reads other numbers past the ends of its buffers
        raise InputError(path, f"{axes} dimensions", "three (or four, modalities last)", "give one volume per file")
    spacing = fields.get("ElementSpacing", fields.get("ElementSize"))
    if spacing is None:
        raise InputError(path, "no ElementSpacing", "the spacing in mm", "repair the header")
    _require_positive(path, _numbers(path, "ElementSpacing", spacing))
    for name, value in fields.items():
        count = META_NUMBERS.get(name, 0)
        if count and len(_numbers(path, name, value)) != axes**count:
            raise InputError(path, f"{name} {value}", f"{axes**count} numbers", "repair the header")
    packing = Packing.DEFLATED if _is_true(fields.get("CompressedData", "False")) else Packing.RAW
    if "HeaderSize" in fields or not _is_true(fields.get("BinaryData", "True")):
        packing = Packing.OTHER
    name = fields["ElementDataFile"]
    header = _header(path, fields, None if name in HERE else name, length, packing)
    if packing is Packing.DEFLATED and ("CompressedDataSize" in fields or name in HERE):
        told, held = _whole(path, "CompressedDataSize", fields.get("CompressedDataSize", "")), header.num_bytes()
        if told != held:  # ITK would unpack other bytes, and leave the rest of the array as it finds it
            raise InputError(path, f"CompressedDataSize {told}", f"{held}, the bytes that are there", RESTORE)
    return header


def _is_true(value: str) -> bool:
    """As MetaIO reads it."""
    return value[:1] in ("T", "t", "1")


def _nrrd_header(path: Path) -> Header:
    fields, length = _fields(path, ":", last="")
    space = fields.get("space")
    if space is not None and space not in NRRD_SPACES:
        raise InputError(path, f"space '{space}'", f"one of {', '.join(sorted(NRRD_SPACES))}", "convert the file")
    directions, spacings = fields.get("space directions"), fields.get("spacings")
    if directions is not None:
        vectors = [v for v in re.findall(r"\([^)]*\)|none", directions) if v != "none"]
        if len(vectors) != 3 or any(len(_numbers(path, "space directions", v)) != 3 for v in vectors):
            raise InputError(path, f"space directions {directions}", "three vectors of three numbers", "repair the header")
    elif spacings is not None:
        _require_positive(path, _numbers(path, "spacings", spacings))
    else:
        raise InputError(path, "neither space directions nor spacings", "the spacing in mm", "repair the header")
    _numbers(path, "space origin", fields.get("space origin", ""))
    packing = NRRD_PACKINGS.get(fields.get("encoding", ""), Packing.OTHER)
    if any(fields.get(name, "0") != "0" for name in ("byte skip", "byteskip", "line skip", "lineskip")):
        packing = Packing.OTHER
    return _header(path, fields, fields.get("data file", fields.get("datafile")), length, packing)


def _fields(path: Path, separator: str, last: str) -> tuple[dict[str, str], int]:
    """Fields by name, with the length of the header in bytes; NRRD's, by names in lower case, ends with an empty line."""
    fields, length, missing = {}, 0, "an end of the header"
    require_content(path)
    with refusing(path, READABLE), path.open("rb") as file:
        for line in iter(lambda: file.readline(HEADER_BYTES), b""):
            length += len(line)
            if length > HEADER_BYTES:
                break
            name, _, value = line.decode("utf-8", "replace").strip().partition(separator)
            name = name.strip() if last else name.strip().lower()
            fields[name] = value.removeprefix("=").strip()
            if name == last:
                return fields, length
    if last or "data file" not in fields:
        raise InputError(path, f"no {last or 'empty line'} in the first {length} bytes", missing, RESTORE)
    return fields, length


def _header(path: Path, fields: dict[str, str], data: str | None, length: int, packing: Packing) -> Header:
    if data is None:
        return Header(fields, path, length, packing)
    name = data.removeprefix("./")
    if not name.isprintable() or any(mark in name for mark in "/\\") or name in ("", ".."):
        fix = "put both files into one folder, and name it so"
        raise InputError(path, f"voxels in '{data}'", "the name of a file beside it", fix)
    data_path = path.parent / name
    if not data_path.is_file():  # lists or patterns of slices are no such file either
        raise InputError(path, f"voxels in '{data}', which is no file beside it", "one data file", "restore it, or convert the scan into one file")
    return Header(fields, data_path, 0, packing)


def _numbers(path: Path, name: str, text: str) -> list[float]:
    return [_number(path, name, word) for word in re.split(r"[\s,()]+", text) if word]


def _number(path: Path, name: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not abs(value) < FARTHEST_MM:
        raise InputError(path, f"'{word}' in {name.lower()}", f"numbers below {FARTHEST_MM:.0e}", "repair the header")
    return value


def _whole(path: Path, name: str, word: str) -> int:
    if not word.isdecimal():
        raise InputError(path, f"'{word}' for {name}", "a whole number", "repair the header")
    return int(word)


def _require_positive(path: Path, spacing: list[float]) -> None:
    if len(spacing) < 3 or min(spacing) <= 0:
        raise InputError(path, f"spacing {spacing}", "three positive numbers", "repair the header")
