"""A DICOM series: a folder of slices that become one scan."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniseg.errors import InputError
from uniseg.images.dicom_file import Tags, is_dicom, is_foreign, read_pixels, read_tags
from uniseg.images.dicom_slices import GEOMETRY, HEADER_TAGS, OWN_FOLDER, Slice, make_slice, ordered, require_alike
from uniseg.images.image_file import RESTORE, ImageFile, refusing
from uniseg.images.suv import suv_factor

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # which pydicom 3.0 cannot name


@dataclass(frozen=True)
class Series:
    """The slices of one scan along their normal.

    Attributes:
        affine: 4x4, index (column, row, slice, 1) -> RAS mm.

    Examples:
        >>> len(read_series(Path("ct")).slices)  # doctest: +SKIP
        120
    """

    folder: Path
    slices: tuple[Slice, ...]
    affine: np.ndarray

    @property
    def modality(self) -> str:
        return self.slices[0].header.text("Modality")


def is_series(folder: Path) -> bool:
    """Whether a file of the folder itself is DICOM; hidden files or folders do not count.

    Raises:
        InputError: the folder or a file in it cannot be opened.
    """
    return not folder.name.startswith(".") and any(is_dicom(path) for path in _files(folder) if path.name != "DICOMDIR")


def read_series(folder: Path) -> Series:
    """The slices of a folder, their headers alone.

    Objects without slices of their own (DICOMDIR, structure sets, segmentations) are passed over, and so are files that
    are no DICOM by ending and content.

    Raises:
        InputError: no slice; another file that is no DICOM; several series; slices that differ in shape, spacing or
            orientation, lie in one place, leave a gap, or do not say where they lie.
    """
    headers = {path: _read(path) for path in _files(folder)}
    slices = [make_slice(path, header) for path, header in headers.items() if header is not None and _is_slice(header)]
    if not slices:
        raise InputError(folder, "no DICOM slice", "a folder with the slices of one series", "check the folder")
    series = Counter(s.header.text("SeriesInstanceUID") for s in slices)
    if len(series) > 1:
        rarest, number = series.most_common()[-1]
        one = next(s.path.name for s in slices if s.header.text("SeriesInstanceUID") == rarest)
        found = f"{len(series)} series ({', '.join(sorted(series))})"
        found += f", {rarest} with {number} of {len(slices)} slices, {one} for one"
        raise InputError(folder, found, "one series", OWN_FOLDER)
    require_alike(slices)
    slices, step = ordered(slices)
    first = slices[0]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = (
        first.axes[0] * first.spacing_mm[1],
        first.axes[1] * first.spacing_mm[0],
        step,
    )
    affine[:3, 3] = first.position
    affine[:2] *= -1  # LPS to RAS
    return Series(folder, tuple(slices), affine)


def open_series(folder: Path) -> ImageFile:
    """All slices of a folder as one scan, rescaled slice by slice (CT: Hounsfield units; PET: SUV by body weight).

    Raises:
        InputError: as of ``read_series``; PET whose tags do not allow SUV.
    """
    series = read_series(folder)
    slices = series.slices
    factor = suv_factor([s.header for s in slices], folder) if series.modality == "PT" else 1.0
    shape = (slices[0].shape[1], slices[0].shape[0], len(slices))

    def load() -> np.ndarray:
        out = np.empty(shape[::-1], np.float32)
        for plane, s in zip(out, slices, strict=True):
            with np.errstate(all="ignore"):
                plane[...] = _pixels(s) * factor
        return out.transpose()

    return ImageFile(folder, shape, series.affine, load, stated=series.modality)


def _files(folder: Path) -> list[Path]:
    with refusing(folder, "a folder that can be read"):
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _read(path: Path) -> Tags | None:
    """None for another kind of file; what is none by its name may be a damaged slice, and is not passed over."""
    is_ours = is_dicom(path)
    return None if is_foreign(path) and not is_ours else read_tags(path, HEADER_TAGS, is_bare=is_ours)


def _is_slice(header: Tags) -> bool:
    from pydicom.uid import MediaStorageDirectoryStorage, SegmentationStorage

    is_other = header.text("SOPClassUID") in (MediaStorageDirectoryStorage, SegmentationStorage, LABEL_MAP_STORAGE)
    return not is_other and any(name in header for name in GEOMETRY)


def _pixels(s: Slice) -> np.ndarray:
    """``[rows,columns]`` in the units of the rescaling."""
    values = read_pixels(s.path)
    if values.shape != s.shape:
        raise InputError(s.path, f"voxels of shape {values.shape}", f"{s.shape}", RESTORE)
    return values
