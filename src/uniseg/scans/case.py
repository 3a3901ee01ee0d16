"""Where the files of one case are."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One image with, usually, its label.

    Attributes:
        case_id: unique within its dataset.
        patient_id: ``<namespace>/<patient>``: one person has one patient_id over all datasets.
        image_paths: one file, or folder of DICOM slices, per modality, in the task's order; None where the case lacks a modality.
        label_path: None where the case has no label.
    """

    case_id: str
    patient_id: str
    image_paths: tuple[Path | None, ...]
    label_path: Path | None
