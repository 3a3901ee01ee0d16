"""NRRD files, Slicer's segmentations among them, through SimpleITK.

ITK replaces numbers that it cannot read by 0 or 1 and takes the sign off a spacing, so the header's text is checked
first.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniseg.errors import InputError
from uniseg.images.image_file import RESTORE, ImageFile, inflate, needing, refusing, require_bytes
from uniseg.images.text_header import READABLE, beside, number, numbers, read_fields, require_positive

if TYPE_CHECKING:
    import SimpleITK

NRRD_SPACES = {"LPS", "RAS", "LAS", "left-posterior-superior", "right-anterior-superior", "left-anterior-superior"}
LABEL_VALUE = re.compile(r"segment\d+_labelvalue")


class Packing(Enum):
    """How voxels are stored: as in memory, by zlib or gzip, or in a way whose size in memory only ITK knows.

    Examples:
        >>> NRRD_PACKINGS["gzip"]
        <Packing.DEFLATED: 2>
    """

    RAW = auto()
    DEFLATED = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Header:
    """What the text before the voxels says.

    Attributes:
        fields: name in lower case -> value.
        data_path: file with the voxels.
        start: where they begin there.
        packing: how they are stored.

    Examples:
        >>> size = Path("scan.nrrd").write_bytes(b"header" + bytes(24))
        >>> Header({"encoding": "raw"}, Path("scan.nrrd"), start=6, packing=Packing.RAW).unpacked_bytes()
        24
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


NRRD_PACKINGS = {"raw": Packing.RAW, "gzip": Packing.DEFLATED, "gz": Packing.DEFLATED}


def open_nrrd(path: Path) -> ImageFile:
    """A ``.nrrd`` or ``.nhdr`` file; a list axis holds modalities. A space that is not stated counts as LPS, as in ITK.

    Raises:
        InputError: unreadable, truncated, without a usable geometry.
    """
    return _open(path, _header(path))


def open_segmentation(path: Path) -> ImageFile:
    """A ``.seg.nrrd`` of 3D Slicer as one label map of the segments' LabelValue.

    Raises:
        InputError: as ``open_nrrd``; segments in several layers, or voxels of no segment.
    """
    header = _header(path)
    stored = _open(path, header)
    if len(stored.shape) != 3:
        fix = "export the segments as one label map"
        raise InputError(
            path,
            f"{stored.shape[3]} layers of overlapping segments",
            "one layer, where no two segments share a voxel",
            fix,
        )
    listed = {number(path, name, value) for name, value in header.fields.items() if LABEL_VALUE.fullmatch(name)}

    def load() -> np.ndarray:
        values = stored.load()
        unknown = sorted({float(value) for value in np.unique(values)} - listed - {0.0})
        if listed and unknown:
            raise InputError(
                path,
                f"voxels of value {unknown[0]:g}",
                f"the segments' {sorted(listed)}",
                "save the segmentation again",
            )
        return values

    return replace(stored, load=load, is_extract=True)


def write_itk(values: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write ``values (i, j, k)`` as NRRD or MetaImage, by the ending of ``path``.

    Args:
        affine: 4x4, index (i, j, k, 1) -> RAS mm.
    """
    save_itk_image(itk_image(values, affine, path), path)


def itk_image(values: np.ndarray, affine: np.ndarray, path: Path) -> "SimpleITK.Image":
    """``values (i, j, k)`` as ITK holds them.

    Args:
        affine: 4x4, index (i, j, k, 1) -> RAS mm.
        path: for messages.
    """
    with needing("SimpleITK", path):
        import SimpleITK
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.T))
    lps = np.diag([-1.0, -1, 1, 1]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def save_itk_image(image: "SimpleITK.Image", path: Path) -> None:
    """Write it compressed, in the format that the path's ending says."""
    import SimpleITK

    SimpleITK.WriteImage(image, str(path), useCompression=True)


def _open(path: Path, header: Header) -> ImageFile:
    with needing("SimpleITK", path):
        import SimpleITK
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("NrrdImageIO")
    reader.SetFileName(str(path))
    with refusing(path, READABLE):
        reader.ReadImageInformation()
        size = reader.GetSize()
        dimension, components = len(size), reader.GetNumberOfComponents()
        kind = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    shape = (*size, components) if components > 1 else tuple(size)
    if len(shape) not in (3, 4) or dimension < 3:
        raise InputError(
            path, f"shape {shape}", "three dimensions (or four, modalities last)", "give one volume per file"
        )
    bits = re.search(r"(\d+)-bit", kind)
    if bits is None or "complex" in kind:
        raise InputError(path, f"voxels of type {kind}", "real numbers", "convert the file")
    claimed = float(np.prod(shape, dtype=np.float64)) * int(bits.group(1)) / 8
    require_bytes(path, claimed, header.num_bytes(), packed=header.packing is not Packing.RAW)
    direction = np.reshape(reader.GetDirection(), (dimension, dimension))
    if dimension == 4 and (direction[3, :3].any() or direction[:3, 3].any()):
        raise InputError(
            path, "a fourth axis that leans into space", "modalities along the fourth axis", "convert the file"
        )
    affine = np.eye(4)
    with np.errstate(all="ignore"):
        affine[:3, :3] = direction[:3, :3] * reader.GetSpacing()[:3]
    affine[:3, 3] = reader.GetOrigin()[:3]

    def load() -> np.ndarray:
        with refusing(path, READABLE):
            num_bytes = claimed if header.packing is Packing.OTHER else header.unpacked_bytes()
        if num_bytes != claimed:  # ITK would leave the rest of the array as it finds it
            raise InputError(path, f"{num_bytes} bytes of voxels", f"{claimed:.0f}, as the header says", RESTORE)
        with refusing(path, READABLE):
            values = SimpleITK.GetArrayFromImage(reader.Execute())
        return values.transpose(2, 1, 0, 3) if components > 1 else values.transpose()

    affine[:2] *= -1  # LPS to RAS
    return ImageFile(path, shape, affine, load)


def _header(path: Path) -> Header:
    fields, length = read_fields(path, ":", last="")
    space = fields.get("space")
    if space is not None and space not in NRRD_SPACES:
        raise InputError(path, f"space '{space}'", f"one of {', '.join(sorted(NRRD_SPACES))}", "convert the file")
    directions, spacings = fields.get("space directions"), fields.get("spacings")
    if directions is not None:
        vectors = [v for v in re.findall(r"\([^)]*\)|none", directions) if v != "none"]
        if len(vectors) != 3 or any(len(numbers(path, "space directions", v)) != 3 for v in vectors):
            raise InputError(
                path, f"space directions {directions}", "three vectors of three numbers", "repair the header"
            )
    elif spacings is not None:
        require_positive(path, numbers(path, "spacings", spacings))
    else:
        raise InputError(path, "neither space directions nor spacings", "the spacing in mm", "repair the header")
    numbers(path, "space origin", fields.get("space origin", ""))
    packing = NRRD_PACKINGS.get(fields.get("encoding", ""), Packing.OTHER)
    if any(fields.get(name, "0") != "0" for name in ("byte skip", "byteskip", "line skip", "lineskip")):
        packing = Packing.OTHER
    data = fields.get("data file", fields.get("datafile"))
    return Header(fields, path, length, packing) if data is None else Header(fields, beside(path, data), 0, packing)
