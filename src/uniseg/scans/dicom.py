"""A DICOM series: a folder of slices, through pydicom."""

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.misc import is_dicom
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import MediaStorageDirectoryStorage, SegmentationStorage

from uniseg.errors import InputError
from uniseg.scans.stored import UNREADABLE, Stored, reason
from uniseg.scans.suv import SUV_TAGS, suv_factor

pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE  # what matters is checked here
REFUSALS = (*UNREADABLE, BytesLengthException, InvalidDicomError, AttributeError, LookupError, NotImplementedError, RuntimeError, struct.error)
GEOMETRY = ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
HEADER_TAGS = (*GEOMETRY, "SOPClassUID", "SeriesInstanceUID", "Modality", "NumberOfFrames", "SamplesPerPixel", "SliceThickness", *SUV_TAGS)
GAP_TOLERANCE = 0.05  # of the distance between slices; scanners round positions
DUPLICATE_MM = 1e-3
DIRECTION_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Slice:
    """The geometry of one file, in DICOM's LPS mm.

    Attributes:
        shape: rows, columns.
        spacing_mm: between rows, between columns.
        axes: ``[2,3]``, the directions in which the column index, then the row index, grows.
        position: of the first voxel.
        thickness_mm: 0 where not stated.
    """

    path: Path
    header: pydicom.Dataset
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    axes: np.ndarray
    position: np.ndarray
    thickness_mm: float


def is_series(folder: Path) -> bool:
    """Whether a file of the folder itself is DICOM; hidden files or folders do not count."""
    return not folder.name.startswith(".") and any(is_dicom(path) for path in _files(folder) if path.name != "DICOMDIR")


def open_series(folder: Path) -> Stored:
    """All slices of a folder as one scan, rescaled slice by slice (CT: Hounsfield units; PET: SUV by body weight).

    Objects without slices of their own (DICOMDIR, structure sets, segmentations) are passed over.

    Raises:
        InputError: no slice; a file that is no DICOM; several series; slices that differ in shape, spacing or orientation,
            lie in one place, leave a gap, or do not say where they lie; PET whose tags do not allow SUV.
    """
    headers = {path: _read(path, specific_tags=list(HEADER_TAGS), stop_before_pixels=True) for path in _files(folder)}
    slices = [_slice(path, header) for path, header in headers.items() if _is_slice(header)]
    if not slices:
        raise InputError(folder, "no DICOM slice", "a folder with the slices of one series", "check the folder")
    series = sorted({str(s.header.get("SeriesInstanceUID", "")) for s in slices})
    if len(series) > 1:
        raise InputError(folder, f"{len(series)} series ({', '.join(series)})", "one series", "put each series into its own folder")
    for s in slices[1:]:
        _require_alike(s, slices[0])
    slices, step = _ordered(slices)
    first = slices[0]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = first.axes[0] * first.spacing_mm[1], first.axes[1] * first.spacing_mm[0], step
    affine[:3, 3] = first.position
    affine[:2] *= -1  # LPS to RAS
    factor = suv_factor([s.header for s in slices], folder) if first.header.get("Modality") == "PT" else 1.0
    shape = (first.shape[1], first.shape[0], len(slices))

    def load() -> np.ndarray:
        out = np.empty(shape[::-1], np.float32)
        for place, s in zip(out, slices, strict=True):
            with np.errstate(all="ignore"):
                place[...] = _pixels(s) * factor
        return out.transpose()

    return Stored(folder, shape, affine, load, stated=str(first.header.get("Modality", "")))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _read(path: Path, **options) -> pydicom.Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, **options)
            if options:
                list(dataset.iterall())  # values are decoded when first seen, and may be malformed
            return dataset
    except REFUSALS as error:
        raise InputError(path, reason(error), "a DICOM file, as the others in the folder", "restore it, or move it away") from error


def _is_slice(header: pydicom.Dataset) -> bool:
    return header.get("SOPClassUID") not in (MediaStorageDirectoryStorage, SegmentationStorage) and any(name in header for name in GEOMETRY)


def _slice(path: Path, header: pydicom.Dataset) -> Slice:
    if header.get("NumberOfFrames") not in (None, 1):
        raise InputError(path, f"{header.NumberOfFrames} frames in one file", "one slice a file", "convert the scan to NIfTI, with dcm2niix for instance")
    if header.get("SamplesPerPixel", 1) != 1:
        raise InputError(path, f"{header.SamplesPerPixel} samples per pixel", "one", "give the scan, not a picture of it")
    rows, columns = _numbers(path, header, "Rows", 1) + _numbers(path, header, "Columns", 1)
    spacing, position = _numbers(path, header, "PixelSpacing", 2), _numbers(path, header, "ImagePositionPatient", 3)
    axes = np.reshape(_numbers(path, header, "ImageOrientationPatient", 6), (2, 3))
    if min(rows, columns, *spacing) <= 0:
        raise InputError(path, f"{rows:g} x {columns:g} voxels of {spacing} mm", "positive numbers", "repair the header")
    if np.abs(axes @ axes.T - np.eye(2)).max() > DIRECTION_TOLERANCE:
        raise InputError(path, f"ImageOrientationPatient {axes.ravel().tolist()}", "two perpendicular unit vectors", "repair the header")
    thickness = _numbers(path, header, "SliceThickness", 1)[0] if header.get("SliceThickness") else 0.0
    return Slice(path, header, (int(rows), int(columns)), tuple(spacing), axes, np.array(position), thickness)


def _numbers(path: Path, header: pydicom.Dataset, name: str, count: int) -> list[float]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = header.get(name)
            values = [float(v) for v in ([value] if count == 1 else value)] if value is not None else []
    except REFUSALS as error:
        raise InputError(path, f"{name}: {reason(error)}", f"{count} numbers", "restore the file") from error
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(path, f"{name} {values}" if values else f"no {name}", f"{count} finite numbers", "restore the slice, or move the file away")
    return values


def _require_alike(s: Slice, first: Slice) -> None:
    pairs = {
        "Rows, Columns": (s.shape, first.shape, 0),
        "PixelSpacing": (s.spacing_mm, first.spacing_mm, DIRECTION_TOLERANCE * min(first.spacing_mm)),
        "ImageOrientationPatient": (s.axes.ravel().tolist(), first.axes.ravel().tolist(), DIRECTION_TOLERANCE),
    }
    for name, (found, expected, tolerance) in pairs.items():
        if np.abs(np.subtract(found, expected)).max() > tolerance:
            raise InputError(s.path, f"{name} {found}", f"{expected}, as {first.path.name}", "put each series into its own folder")
    if s.header.get("Modality") != first.header.get("Modality"):
        found, expected = f"Modality {s.header.get('Modality')}", f"{first.header.get('Modality')}, as {first.path.name}"
        raise InputError(s.path, found, expected, "put each series into its own folder")


def _ordered(slices: list[Slice]) -> tuple[list[Slice], np.ndarray]:
    """Slices along their normal, with the step from one to the next."""
    normal = np.cross(*slices[0].axes)
    slices = sorted(slices, key=lambda s: float(s.position @ normal))
    if len(slices) == 1:
        if not slices[0].thickness_mm > 0:
            raise InputError(slices[0].path, "one slice without SliceThickness", "several slices, or the thickness", "restore the other slices")
        return slices, normal * slices[0].thickness_mm
    positions = np.array([s.position for s in slices])
    distances = np.diff(positions @ normal)
    for distance, s, after in zip(distances, slices, slices[1:], strict=False):
        if distance < DUPLICATE_MM:
            raise InputError(after.path, f"the position of {s.path.name}", "one slice in each place", "keep one phase or one reconstruction")
    usual = float(np.median(distances))
    for distance, s, after in zip(distances, slices, slices[1:], strict=False):
        if abs(distance - usual) > GAP_TOLERANCE * usual:
            found = f"{distance:g} mm from {s.path.name}"
            raise InputError(after.path, found, f"{usual:g} mm, as between the other slices", "restore the missing slices")
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    strays = np.linalg.norm(positions - positions[0] - np.arange(len(slices))[:, None] * step, axis=1)
    if strays.max() > max(GAP_TOLERANCE * usual * 2, 1e-2):
        worst = slices[int(strays.argmax())]
        raise InputError(worst.path, f"a position {strays.max():.3g} mm off the line of the others", "slices in one row", "restore the file")
    return slices, step


def _pixels(s: Slice) -> np.ndarray:
    """``[rows,columns]`` in the units of the rescaling."""
    dataset = _read(s.path)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            values = apply_modality_lut(dataset.pixel_array, dataset)
    except REFUSALS as error:
        expected = "voxels that pydicom can decode"
        raise InputError(s.path, reason(error), expected, "restore the file, or install python-gdcm for lossless JPEG") from error
    if values.shape != s.shape:
        raise InputError(s.path, f"voxels of shape {values.shape}", f"{s.shape}", "restore the file")
    slope = float(dataset.get("RescaleSlope", 1))
    if slope == 0 or not np.isfinite(values).all():
        raise InputError(s.path, f"RescaleSlope {slope:g}, RescaleIntercept {dataset.get('RescaleIntercept', 0)}", "finite intensities", "restore the file")
    return values
