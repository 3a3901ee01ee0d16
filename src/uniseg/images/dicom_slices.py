"""The slices of a DICOM series: where each lies, whether they fit, in which order they make a grid."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniseg.errors import InputError
from uniseg.images.dicom_file import Tags
from uniseg.images.image_file import require_bytes
from uniseg.images.suv import SUV_TAGS

GEOMETRY = ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
PHASES = (  # what tells two slices in one place apart
    *("EchoTime", "InversionTime", "TemporalPositionIdentifier", "TriggerTime", "DiffusionBValue", "AcquisitionNumber"),
    *("ConvolutionKernel", "ImageType"),
)
SERIES = ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription")
KINDS = ("SOPClassUID", *SERIES, "Modality", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated")
IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "SOPInstanceUID")
HEADER_TAGS = [*GEOMETRY, "SliceThickness", *KINDS, *IDENTITY, *PHASES, *SUV_TAGS]
OWN_FOLDER = "put each series into its own folder"
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
        frame: index in a file of several; None where the file is the slice.
        rescale: slope, intercept of a frame.
        units: UCUM code of what that gives, of PET.

    Examples:
        >>> from pydicom import Dataset
        >>> header = Tags(Path("1.dcm"), Dataset())
        >>> axes = np.array([[1, 0, 0], [0, 1, 0]])
        >>> Slice(header.path, header, (512, 512), (0.8, 0.8), axes, np.zeros(3), thickness_mm=5.0).thickness_mm
        5.0
    """

    path: Path
    header: Tags
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    axes: np.ndarray
    position: np.ndarray
    thickness_mm: float
    frame: int | None = None
    rescale: tuple[float, float] | None = None
    units: str = ""

    @property
    def name(self) -> str:
        return self.path.name if self.frame is None else f"frame {self.frame + 1}"

    @property
    def is_packed(self) -> bool:
        return _is_packed(self.header)


def make_slice(path: Path, header: Tags, frame: int | None = None) -> Slice:
    """
    Args:
        frame: index of the one that ``header`` describes; None: the file holds one.

    Raises:
        InputError: several frames, colour, no place in space.
    """
    frames, samples = (header.numbers(name) or [1.0] for name in ("NumberOfFrames", "SamplesPerPixel"))
    if frames != [1.0] and frame is None:
        fix = "convert the scan to NIfTI, with dcm2niix for instance"
        raise InputError(path, f"{frames[0]:g} frames in one file", "one slice a file", fix)
    if samples != [1.0]:
        raise InputError(path, f"{samples[0]:g} samples per pixel", "one", "give the scan, not a picture of it")
    rows, columns = _numbers(path, header, "Rows", 1) + _numbers(path, header, "Columns", 1)
    bits = header.numbers("BitsAllocated") or [8.0]
    require_bytes(path, rows * columns * bits[0] / 8, path.stat().st_size, packed=_is_packed(header))
    spacing, position = _numbers(path, header, "PixelSpacing", 2), _numbers(path, header, "ImagePositionPatient", 3)
    axes = np.reshape(_numbers(path, header, "ImageOrientationPatient", 6), (2, 3))
    if min(rows, columns, *spacing) <= 0:
        raise InputError(
            path, f"{rows:g} x {columns:g} voxels of {spacing} mm", "positive numbers", "repair the header"
        )
    if np.abs(axes @ axes.T - np.eye(2)).max() > DIRECTION_TOLERANCE:
        raise InputError(
            path,
            f"ImageOrientationPatient {axes.ravel().tolist()}",
            "two perpendicular unit vectors",
            "repair the header",
        )
    thickness = _numbers(path, header, "SliceThickness", 1)[0] if header.text("SliceThickness") else 0.0
    return Slice(path, header, (int(rows), int(columns)), tuple(spacing), axes, np.array(position), thickness, frame)


def _is_packed(header: Tags) -> bool:
    from pydicom.uid import UID

    syntax = UID(str(header.dataset.file_meta.get("TransferSyntaxUID", "")))
    return bool(syntax) and (not syntax.is_transfer_syntax or syntax.is_compressed or syntax.is_deflated)


def _numbers(path: Path, header: Tags, name: str, count: int) -> list[float]:
    values = header.numbers(name)
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(
            path,
            f"{name} {values}" if values else f"no {name}",
            f"{count} finite numbers",
            "restore the slice, or move the file away",
        )
    return values


def require_alike(slices: list[Slice]) -> None:
    """Of slices that differ the one that is like few others is to blame: a scout, not the scan."""
    rounded = [np.round([*s.spacing_mm, *s.axes.ravel()], 3).tolist() for s in slices]
    kinds = [(s.shape, *numbers, s.header.text("Modality")) for s, numbers in zip(slices, rounded, strict=True)]
    usual = slices[kinds.index(Counter(kinds).most_common(1)[0][0])]
    for s in slices:
        pairs = {
            "Rows, Columns": (s.shape, usual.shape, 0),
            "PixelSpacing": (s.spacing_mm, usual.spacing_mm, DIRECTION_TOLERANCE * min(usual.spacing_mm)),
            "ImageOrientationPatient": (s.axes.ravel().tolist(), usual.axes.ravel().tolist(), DIRECTION_TOLERANCE),
        }
        for name, (found, expected, tolerance) in pairs.items():
            if np.abs(np.subtract(found, expected)).max() > tolerance:
                fix = f"move it away if it is a scout, or {OWN_FOLDER}"
                raise InputError(s.path, f"{name} {found}", f"{expected}, as {usual.name}", fix)
        found, expected = (f"Modality {one.header.text('Modality')}" for one in (s, usual))
        if found != expected:
            raise InputError(s.path, found, f"{expected}, as {usual.name}", OWN_FOLDER)


def ordered(slices: list[Slice]) -> tuple[list[Slice], np.ndarray]:
    """Slices along their normal, with the step from one to the next."""
    normal = np.cross(*slices[0].axes)
    slices = sorted(slices, key=lambda s: float(s.position @ normal))
    if len(slices) == 1:
        if not slices[0].thickness_mm > 0:
            raise InputError(
                slices[0].path,
                "one slice without SliceThickness",
                "several slices, or the thickness",
                "restore the other slices",
            )
        return slices, normal * slices[0].thickness_mm
    positions = np.array([s.position for s in slices])
    distances = np.diff(positions @ normal)
    for distance, s, after in zip(distances, slices, slices[1:], strict=False):
        if distance < DUPLICATE_MM:
            raise _doubled(s, after)
    usual = float(np.median(distances))
    _require_even(slices, distances, usual)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    strays = np.linalg.norm(positions - positions[0] - np.arange(len(slices))[:, None] * step, axis=1)
    if strays.max() > max(GAP_TOLERANCE * usual * 2, 1e-2):
        worst = slices[int(strays.argmax())]
        raise InputError(
            worst.path,
            f"a position {strays.max():.3g} mm off the line of the others",
            "slices in one row",
            "restore the file",
        )
    return slices, step


def _doubled(s: Slice, after: Slice) -> InputError:
    """Two slices in one place, with what tells them apart."""
    found, fix = f"the position of {s.name}", "keep one phase or one reconstruction"
    for name in PHASES:
        here, there = (one.header.text(name) or "absent" for one in (s, after))
        if here != there:
            found = f"{found}, with {name} {there} instead of {here}"
            fix = "put each echo, phase or reconstruction into its own folder"
            break
    where = after.path if after.frame is None else f"{after.path}, {after.name}"
    return InputError(where, found, "one slice in each place", fix)


def _require_even(slices: list[Slice], distances: np.ndarray, usual: float) -> None:
    """One distance between neighbours; slices are missing only where it is a multiple of the usual one."""
    odd = np.flatnonzero(np.abs(distances - usual) > GAP_TOLERANCE * usual)
    if not odd.size:
        return
    first = odd[0]
    found = f"{distances[first]:g} mm from {slices[first].name}"
    times = distances[odd] / usual
    if (np.abs(times - np.rint(times)) <= GAP_TOLERANCE).all() and times.min() > 1.5:
        fix = "restore the missing slices"
    else:
        low, high = distances.min(), distances.max()
        found += f", and {odd.size} of {distances.size} distances unlike the others, {low:g} to {high:g} mm"
        fix = "the spacing changes within the series: take a reconstruction of even spacing, or make the spacing even"
    raise InputError(slices[first + 1].path, found, f"{usual:g} mm, as between the other slices", fix)
