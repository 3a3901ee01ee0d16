"""What a DICOM file made from a series takes over from it: patient, study, references to its slices."""

from pathlib import Path
from typing import TYPE_CHECKING

from uniseg.errors import InputError
from uniseg.images.dicom import Series, is_series, read_series
from uniseg.images.dicom_file import is_dicom
from uniseg.images.dicom_slices import IDENTITY
from uniseg.images.image_file import refusing

if TYPE_CHECKING:
    from pydicom import Dataset

PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")
MAY_BE_EMPTY = (*PATIENT, *STUDY)


def referable_series(path: Path, what: str) -> Series:
    """The series at a path, its headers alone, if another DICOM file can refer to its slices.

    Args:
        what: refers to them.

    Raises:
        InputError: no folder of DICOM slices; a file without an identity.
    """
    if not (is_series(path) if path.is_dir() else path.is_file() and is_dicom(path)):
        fix = "give the scan as its DICOM series, or choose format=nifti or nrrd"
        raise InputError(path, f"no DICOM series for {what}", "the slices that a DICOM file refers to", fix)
    series = read_series(path)
    for each in series.slices:
        if missing := [name for name in IDENTITY if not each.header.text(name)]:
            fix = "take the series as the scanner or archive gave it, or format=nifti or nrrd"
            raise InputError(each.path, f"no {', '.join(missing)}", f"them, which {what} refers to", fix)
    return series


def source_datasets(series: Series) -> list["Dataset"]:
    """The files of a series in its order, without pixels; what an anonymiser took of patient and study is empty.

    Raises:
        InputError: a file that cannot be read.
    """
    import pydicom

    datasets = []
    for path in dict.fromkeys(s.path for s in series.slices):
        with refusing(path, "a DICOM file that can be referred to"):
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        for name in MAY_BE_EMPTY:
            if name not in dataset:
                setattr(dataset, name, "")
        datasets.append(dataset)
    return datasets


def save_dataset(dataset: "Dataset", path: Path) -> None:
    """Write it as a DICOM file, with its preamble."""
    dataset.save_as(path, enforce_file_format=True)
