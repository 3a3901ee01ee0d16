"""DICOM series with the faults of real exports."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from field.inputs.balls import ORIGIN_MM, SPACING_MM, ball

NUM_SLICES = 12
FIRST = 4  # of the ball's planes, so that it lies inside
AXIAL, CORONAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)
TILT_DEGREES = 20
PADDING = -2000
PREAMBLE = 132  # bytes, with the letters DICM
GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


def planes() -> np.ndarray:
    """The slices of every series, ``[slice, row, column]``."""
    return ball()[0][:, :, FIRST : FIRST + NUM_SLICES].transpose(2, 1, 0)


def write_slice(
    folder: Path,
    k: int,
    plane: np.ndarray | None = None,
    *,
    name: str | None = None,
    sop_class: str = CTImageStorage,
    position: Sequence[float] | None = None,
    orientation: Sequence[float] = AXIAL,
    without: Sequence[str] = (),
    **tags: object,
) -> Path:
    plane = planes()[k] if plane is None else plane
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = (
        sop_class,
        generate_uid(),
        ExplicitVRLittleEndian,
    )
    one = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    one.SOPClassUID, one.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    one.SeriesInstanceUID, one.StudyInstanceUID = "1.2.3", "1.2"
    one.Modality, one.PatientID, one.InstanceNumber = "CT", "anon", k + 1
    one.Rows, one.Columns = plane.shape[-2:]
    one.PixelSpacing, one.SliceThickness = list(SPACING_MM[:2]), SPACING_MM[2]
    one.ImageOrientationPatient = list(orientation)
    one.ImagePositionPatient = list(position or (*ORIGIN_MM[:2], SPACING_MM[2] * k))
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
    one.RescaleSlope, one.RescaleIntercept = 1, 0
    one.PixelData = np.ascontiguousarray(plane, np.int16).tobytes()
    for key, value in tags.items():
        setattr(one, key, value)
    for key in without:
        delattr(one, key)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"IM{k:04d}")
    one.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, **options: object) -> Path:
    for k in range(NUM_SLICES):
        write_slice(folder, k, **options)
    return folder


def _thumbs(folder: Path) -> None:
    (write_series(folder) / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")


def _mac(folder: Path) -> None:
    write_series(folder)
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "._IM0000").write_bytes(b"\0\5\26\7")


def _no_preamble(folder: Path) -> None:
    for path in write_series(folder).iterdir():
        path.write_bytes(path.read_bytes()[PREAMBLE:])


def _padding(folder: Path) -> None:
    for k, plane in enumerate(planes().copy()):
        plane[:3] = PADDING
        write_slice(folder, k, plane, PixelPaddingValue=PADDING)


def _unsigned(folder: Path) -> None:
    for k, plane in enumerate(planes()):
        write_slice(folder, k, plane + 1024, PixelRepresentation=0, RescaleIntercept=-1024)


READABLE: dict[str, Callable[[Path], object]] = {
    "good": write_series,
    "thumbs": _thumbs,
    "mac": _mac,
    "no_preamble": _no_preamble,
    "padding": _padding,
    "unsigned": _unsigned,
}


def _missing(folder: Path) -> None:
    (write_series(folder) / "IM0005").unlink()


def _duplicate(folder: Path) -> None:
    write_slice(write_series(folder), 5, name="IM0005_copy")


def _scout(folder: Path, **tags: object) -> None:
    write_slice(
        write_series(folder), 11, planes()[5], name="A_scout", position=(*ORIGIN_MM[:2], 0), orientation=CORONAL, **tags
    )


def _other_series(folder: Path) -> None:
    _scout(folder, SeriesInstanceUID="9.9")


def _dose_report(folder: Path) -> None:
    page = np.zeros((40, 60), np.int16)
    tags = {"SeriesInstanceUID": "8.8", "Modality": "OT"}
    write_slice(
        write_series(folder),
        11,
        page,
        name="Z_report",
        sop_class=SecondaryCaptureImageStorage,
        without=GEOMETRY,
        **tags,
    )


def _echoes(folder: Path) -> None:
    for k in range(NUM_SLICES):
        write_slice(folder, k, sop_class=MRImageStorage, Modality="MR", EchoTime=10)
        write_slice(folder, k, sop_class=MRImageStorage, Modality="MR", EchoTime=90, name=f"IM2{k:04d}")


def _tilt(folder: Path) -> None:
    angle = np.deg2rad(TILT_DEGREES)
    write_series(folder, orientation=(1, 0, 0, 0, np.cos(angle), -np.sin(angle)), GantryDetectorTilt=TILT_DEGREES)


def _uneven(folder: Path) -> None:
    """3 mm, then 5 mm."""
    half = NUM_SLICES // 2
    for k in range(NUM_SLICES):
        write_slice(folder, k, position=(*ORIGIN_MM[:2], 3 * k if k < half else 3 * half + 5 * (k - half)))


def _multiframe(folder: Path) -> None:
    write_slice(folder, 0, planes(), NumberOfFrames=NUM_SLICES)


def _pet(folder: Path) -> None:
    write_series(folder, sop_class=PositronEmissionTomographyImageStorage, Modality="PT", Units="BQML")


# What is wrong -> words of which the line has one each.
FAULTY: dict[str, tuple[Callable[[Path], None], tuple[tuple[str, ...], ...]]] = {
    "missing": (_missing, (("IM0004", "IM0006", "missing"),)),
    "duplicate": (_duplicate, (("IM0005", "IM0005_copy"),)),
    "scout": (_scout, (("A_scout",),)),
    "scout_of_other_series": (_other_series, (("A_scout", "two series", "2 series", "9.9"),)),
    "dose_report": (_dose_report, (("Z_report", "two series", "2 series", "8.8"),)),
    "echoes": (_echoes, (("EchoTime", "echo", "IM2", "IM0"),)),
    "tilt": (_tilt, (("tilt", "sheared", "orthogonal"),)),
    "uneven": (_uneven, (("3",), ("5",), ("spac", "distance", "apart"))),
    "multiframe": (_multiframe, (("frames", "multi"),)),
    "pet_without_tags": (
        _pet,
        (("SUV", "PatientWeight", "RadiopharmaceuticalInformationSequence", "DecayCorrection", "BQML"),),
    ),
}


def affine_of_series() -> np.ndarray:
    """RAS mm, of (column, row, slice)."""
    matrix = np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0])
    matrix[:3, 3] = -ORIGIN_MM[0], -ORIGIN_MM[1], 0
    return matrix
