"""MetaImage files, read here.

Of some damage ITK's reader tells on the process's standard error alone, where other threads write as well, and returns
what it finds in memory.
"""

from pathlib import Path

import numpy as np

from uniseg.errors import InputError
from uniseg.images.image_file import RESTORE, ImageFile, inflate, refusing, require_bytes
from uniseg.images.text_header import READABLE, beside, numbers, read_fields, require_positive, whole

TYPES = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4"},
    **{"MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8"},
    **{"MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
NEEDED = ("NDims", "DimSize", "ElementType")
SPACING, ORIGIN = ("ElementSpacing", "ElementSize"), ("Offset", "Position", "Origin")
AXES, BIG_ENDIAN = ("TransformMatrix", "Rotation", "Orientation"), ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
HERE = ("LOCAL", "Local", "local")
AT_THE_END = "-1"  # HeaderSize where the voxels are the last bytes of the file


def open_meta(path: Path) -> ImageFile:
    """A ``.mha`` or ``.mhd`` file; channels, or a fourth axis, are modalities.

    Raises:
        InputError: unreadable, truncated, without a usable geometry.
    """
    fields, length = read_fields(path, "=", last="ElementDataFile")
    missing = [name for name in NEEDED if name not in fields]
    if missing:
        raise InputError(path, f"no {missing[0]}", f"a header with {', '.join(NEEDED)}", RESTORE)
    num_axes = whole(path, "NDims", fields["NDims"])
    if num_axes not in (3, 4):
        raise InputError(path, f"{num_axes} dimensions", "three (or four, modalities last)", "give one volume per file")
    if fields["ElementType"] not in TYPES:
        expected = f"one of {', '.join(TYPES)}"
        raise InputError(path, f"voxels of type {fields['ElementType']}", expected, "convert the file")
    sizes = tuple(whole(path, "DimSize", word) for word in fields["DimSize"].split())
    if len(sizes) != num_axes:
        raise InputError(path, f"DimSize {fields['DimSize']}", f"{num_axes} numbers", "repair the header")
    channels = whole(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"))
    shape = sizes if channels == 1 else (*sizes, channels)
    order = ">" if _is_true(_stated(fields, BIG_ENDIAN) or "") else "<"
    dtype = np.dtype(f"{order}{TYPES[fields['ElementType']]}")
    name = fields["ElementDataFile"]
    data_path, start = (path, length) if name in HERE else (beside(path, name), 0)
    num_stored, claimed = data_path.stat().st_size - start, float(np.prod(shape, dtype=np.float64)) * dtype.itemsize
    is_text, is_packed = not _is_true(fields.get("BinaryData", "True")), _is_true(fields.get("CompressedData", ""))
    require_bytes(path, claimed, num_stored, packed=is_packed or is_text)

    def load() -> np.ndarray:
        if is_text:
            with refusing(path, READABLE), data_path.open("rb") as file:
                file.seek(start)
                flat = np.array(file.read().split()).astype(dtype)
            _require_length(path, flat.nbytes, claimed)
        else:
            flat = _read(path, data_path, start, int(claimed), fields.get("HeaderSize"), is_packed).view(dtype)
        if channels == 1:
            return flat.reshape(shape, order="F")
        return np.moveaxis(flat.reshape((channels, *sizes), order="F"), 0, -1)

    return ImageFile(path, shape, _affine(path, fields, num_axes), load)


def _read(path: Path, data_path: Path, start: int, size: int, skip: str | None, is_packed: bool) -> np.ndarray:
    """``[size]`` bytes of voxels, their checksum being right where they are packed."""
    raw, num_stored = np.empty(size, np.uint8), data_path.stat().st_size
    if skip is not None:
        start = num_stored - size if skip == AT_THE_END and not is_packed else whole(path, "HeaderSize", skip)
        num_stored = min(num_stored, start + size)
    with refusing(path, READABLE):
        if is_packed:
            _require_length(path, inflate(data_path, start, raw), size)
        else:
            _require_length(path, num_stored - start, size)
            with data_path.open("rb") as file:
                file.seek(start)
                file.readinto(raw)
    return raw


def _affine(path: Path, fields: dict[str, str], num_axes: int) -> np.ndarray:
    """Index (i, j, k, 1) -> RAS mm."""
    spacing = _stated(fields, SPACING)
    if spacing is None:
        raise InputError(path, "no ElementSpacing", "the spacing in mm", "repair the header")
    for names, count in ((SPACING, num_axes), (ORIGIN, num_axes), (AXES, num_axes**2)):
        for name in names:
            if name in fields and len(numbers(path, name, fields[name])) != count:
                raise InputError(path, f"{name} {fields[name]}", f"{count} numbers", "repair the header")
    steps = numbers(path, SPACING[0], spacing)
    require_positive(path, steps)
    axes = np.eye(num_axes)
    if stated := _stated(fields, AXES):
        axes = np.reshape(numbers(path, AXES[0], stated), (num_axes, num_axes)).T
    if num_axes == 4 and (axes[3, :3].any() or axes[:3, 3].any()):
        fix = "convert the file"
        raise InputError(path, "a fourth axis that leans into space", "modalities along the fourth axis", fix)
    affine = np.eye(4)
    affine[:3, :3] = axes[:3, :3] * steps[:3]
    affine[:3, 3] = numbers(path, ORIGIN[0], _stated(fields, ORIGIN) or "0 0 0")[:3]
    affine[:2] *= -1  # LPS to RAS
    return affine


def _stated(fields: dict[str, str], names: tuple[str, ...]) -> str | None:
    """What the first of several names for one thing says."""
    return next((fields[name] for name in names if name in fields), None)


def _is_true(value: str) -> bool:
    """As MetaIO reads it."""
    return value[:1] in ("T", "t", "1")


def _require_length(path: Path, num_stored: int, claimed: float) -> None:
    if num_stored != claimed:
        raise InputError(path, f"{num_stored} bytes of voxels", f"{claimed:.0f}, as the header says", RESTORE)
