"""A DICOM series: a folder of slices that become one scan."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from uniseg.errors import InputError
from uniseg.images.dicom_choice import ListedSeries, describe, list_series, only_volume, pick_series
from uniseg.images.dicom_file import Tags, is_dicom, is_foreign, read_pixels, read_tags
from uniseg.images.dicom_frames import FRAME_TAGS, is_multi_frame, make_frames
from uniseg.images.dicom_slices import GEOMETRY, HEADER_TAGS, OWN_FOLDER, Slice, make_slice, ordered, require_alike
from uniseg.images.gantry_tilt import Tilt
from uniseg.images.image_file import RESTORE, SKEW, ImageFile, refusing
from uniseg.images.suv import multi_frame_suv_factor, suv_factor

LARGEST_TILT = 45.0  # degrees; gantries reach 30
LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"  # which pydicom 3.0 cannot name


@dataclass(frozen=True)
class Series:
    """The slices of one scan along their normal, and the right-angled grid of their voxels.

    Attributes:
        affine: 4x4, index (column, row, slice, 1) of the grid -> RAS mm.
        notes: what was passed over, each in one line.
        tilt: how the slices drift; None where they lie straight above each other, as the grid's.

    Examples:
        >>> len(read_series(Path("ct")).slices)  # doctest: +SKIP
        120
    """

    folder: Path
    slices: tuple[Slice, ...]
    affine: np.ndarray
    tilt: Tilt | None = None
    notes: tuple[str, ...] = ()

    @property
    def modality(self) -> str:
        return self.slices[0].header.text("Modality")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices of the grid."""
        rows, columns = self.tilt.grid_shape if self.tilt else self.slices[0].shape
        return columns, rows, len(self.slices)

    def on_slices(self, planes: np.ndarray) -> np.ndarray:
        """A label map ``[slice,row,column]`` of the grid on the slices as they were scanned."""
        if self.tilt is None:
            return planes
        return np.stack([self.tilt.slant(plane, number) for number, plane in enumerate(planes)])

    def in_file_order(self, planes: np.ndarray) -> np.ndarray:
        """Slices of several frames in the order of their file, others as they are."""
        if self.slices[0].frame is None:
            return planes
        return planes[np.argsort([s.frame for s in self.slices])]


def is_series(folder: Path) -> bool:
    """Whether a file of the folder itself is DICOM; hidden files or folders do not count.

    Raises:
        InputError: the folder or a file in it cannot be opened.
    """
    return not folder.name.startswith(".") and any(is_dicom(path) for path in _files(folder) if path.name != "DICOMDIR")


def read_series(path: Path) -> Series:
    """The slices of a folder, or of one series in it, their headers alone.

    Objects without slices of their own (DICOMDIR, structure sets, segmentations) are passed over, and so are files that
    are no DICOM by ending and content, and localisers beside the one volume.

    Args:
        path: the folder, or a file of the series.

    Raises:
        InputError: no slice; another file that is no DICOM; several series; slices that differ in shape, spacing or
            orientation, lie in one place, leave a gap, or do not say where they lie.
    """
    folder = path if path.is_dir() else path.parent
    listed = _listed(folder)
    own = [each for each in listed if path in each.headers]
    if not own and not path.is_dir():
        raise InputError(path, "no DICOM slice", "a slice of a series", "give the folder of the slices")
    series = own[0] if own else only_volume(listed, path)
    slices = _slices(series)
    require_alike(slices)
    slices, step = ordered(slices)
    others = [each for each in listed if each is not series] if path.is_dir() else []
    notes = (f"localisers passed over: {describe(others)}",) if others else ()
    return replace(_on_grid(path, slices, step), notes=notes)


def _slices(series: ListedSeries) -> list[Slice]:
    several = [path for path, header in series.headers.items() if is_multi_frame(header)]
    if several and len(series.headers) > 1:
        found = f"{len(series.headers)} files in a series of multi-frame files"
        raise InputError(several[0], found, "one file", OWN_FOLDER)
    if several:
        return make_frames(several[0], series.headers[several[0]])
    return [make_slice(path, header) for path, header in series.headers.items()]


def choose_series(folder: Path, series: str) -> tuple[Path, str]:
    """A file of the series that is wanted, which ``read_series`` takes for the whole, and its number.

    Args:
        series: its number or SeriesInstanceUID.

    Raises:
        InputError: no folder of slices, or there is no such series.
    """
    if not folder.is_dir():
        raise InputError("series", f"'{series}' for {folder}", "input= one folder of DICOM slices", "leave it out")
    chosen = pick_series(_listed(folder), series, folder)
    return min(chosen.headers), chosen.number


def _listed(folder: Path) -> list[ListedSeries]:
    headers = {path: _read(path) for path in _files(folder)}
    listed = list_series({path: h for path, h in headers.items() if h is not None and _is_slice(h)})
    if not listed:
        raise InputError(folder, "no DICOM slice", "a folder with the slices of one series", "check the folder")
    return listed


def _on_grid(folder: Path, slices: list[Slice], step: np.ndarray) -> Series:
    """
    Args:
        step: from one slice to the next, mm.

    Raises:
        InputError: they drift farther than a gantry tilts.
    """
    first, tilt = slices[0], None
    columns, rows = first.axes[0] * first.spacing_mm[1], first.axes[1] * first.spacing_mm[0]
    origin, normal = first.position, np.cross(*first.axes)
    along = first.axes @ step / np.linalg.norm(step)  # cosines
    if np.abs(along).max() > SKEW:
        degrees = float(np.degrees(np.arccos(min(1.0, normal @ step / np.linalg.norm(step)))))
        if degrees > LARGEST_TILT:
            found = f"slices that lie {degrees:.0f} degrees off their normal"
            raise InputError(folder, found, f"a gantry's tilt, up to {LARGEST_TILT:g}", "make the grid right-angled")
        drift = (step @ first.axes[1] / first.spacing_mm[0], step @ first.axes[0] / first.spacing_mm[1])
        tilt = Tilt(drift, first.shape, len(slices))
        origin = origin + tilt.low[1] * columns + tilt.low[0] * rows
        step = normal * (step @ normal)
    affine = np.eye(4)
    affine[:3] = np.column_stack([columns, rows, step, origin])
    affine[:2] *= -1  # LPS to RAS
    return Series(folder, tuple(slices), affine, tilt)


def open_series(path: Path) -> ImageFile:
    """All slices of a folder as one scan, rescaled slice by slice (CT: Hounsfield units; PET: SUV by body weight).

    Raises:
        InputError: as of ``read_series``; PET whose tags do not allow SUV.
    """
    series = read_series(path)
    slices = series.slices
    factor = _suv_factor(series, path) if series.modality == "PT" else 1.0

    def load() -> np.ndarray:
        out = np.empty(series.shape[::-1], np.float32)
        frames = None if slices[0].frame is None else _frames(slices)
        for number, (plane, s) in enumerate(zip(out, slices, strict=True)):
            with np.errstate(all="ignore"):
                values = ((_pixels(s) if frames is None else _rescaled(frames, s)) * factor).astype(np.float32)
            plane[...] = series.tilt.straighten(values, number) if series.tilt else values
        return out.transpose()

    return ImageFile(path, series.shape, series.affine, load, stated=series.modality, notes=_notes(series))


def _suv_factor(series: Series, path: Path) -> float:
    if series.slices[0].frame is None:
        return suv_factor([s.header for s in series.slices], path)
    units = sorted({s.units for s in series.slices})
    return multi_frame_suv_factor(series.slices[0].header, ", ".join(units), path)


def _notes(series: Series) -> tuple[str, ...]:
    if series.tilt is None:
        return series.notes
    drifts = " and ".join(f"{drift:.2g}" for drift in series.tilt.drift)
    text = f"a tilted gantry: slices drift by {drifts} voxels (rows, columns) each; moved onto a right-angled grid"
    return (
        *series.notes,
        f"{text}, and contours of its labels back onto the slices",
    )


def _files(folder: Path) -> list[Path]:
    with refusing(folder, "a folder that can be read"):
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _read(path: Path) -> Tags | None:
    """None for another kind of file; what is none by its name may be a damaged slice, and is not passed over."""
    is_ours = is_dicom(path)
    return None if is_foreign(path) and not is_ours else read_tags(path, HEADER_TAGS + FRAME_TAGS, is_bare=is_ours)


def _is_slice(header: Tags) -> bool:
    from pydicom.uid import MediaStorageDirectoryStorage, SegmentationStorage

    is_other = header.text("SOPClassUID") in (MediaStorageDirectoryStorage, SegmentationStorage, LABEL_MAP_STORAGE)
    return not is_other and any(name in header for name in GEOMETRY)


def _frames(slices: Sequence[Slice]) -> np.ndarray:
    """``[frame,rows,columns]`` as stored."""
    first = slices[0]
    values = read_pixels(first.path)
    values = values[None] if values.ndim == 2 else values
    if values.shape != (len(slices), *first.shape):
        expected = f"{(len(slices), *first.shape)}"
        raise InputError(first.path, f"voxels of shape {values.shape}", expected, RESTORE)
    return values


def _rescaled(frames: np.ndarray, s: Slice) -> np.ndarray:
    slope, intercept = s.rescale or (1.0, 0.0)
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise InputError(s.path, f"{s.name} rescaled by {slope:g}, {intercept:g}", "finite intensities", RESTORE)
    return frames[s.frame].astype(np.float64) * slope + intercept


def _pixels(s: Slice) -> np.ndarray:
    """``[rows,columns]`` in the units of the rescaling."""
    values = read_pixels(s.path)
    if values.shape != s.shape:
        raise InputError(s.path, f"voxels of shape {values.shape}", f"{s.shape}", RESTORE)
    return values
