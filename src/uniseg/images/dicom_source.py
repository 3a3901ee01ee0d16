"""What a DICOM file made from a series takes over from it: patient, study, references to its slices."""

from pathlib import Path
from typing import TYPE_CHECKING

from uniseg.errors import InputError
from uniseg.images.dicom import Series
from uniseg.images.image_file import refusing

if TYPE_CHECKING:
    from pydicom import Dataset

PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")
MAY_BE_EMPTY = (*PATIENT, *STUDY)
IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "SOPInstanceUID")


def source_datasets(series: Series) -> list["Dataset"]:
    """The files of a series in its order, without pixels; what an anonymiser took of patient and study is empty.

    Raises:
        InputError: a file without an identity that can be referred to.
    """
    import pydicom

    datasets = []
    for path in dict.fromkeys(s.path for s in series.slices):
        with refusing(path, "a DICOM file that can be referred to"):
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        for name in IDENTITY:
            if not dataset.get(name):
                fix = "take the series as the scanner or archive gave it, or format=nifti"
                raise InputError(path, f"no {name}", "one, which the output refers to", fix)
        for name in MAY_BE_EMPTY:
            if name not in dataset:
                setattr(dataset, name, "")
        datasets.append(dataset)
    return datasets


def save_dataset(dataset: "Dataset", path: Path) -> None:
    """Write it as a DICOM file, with its preamble."""
    dataset.save_as(path, enforce_file_format=True)
