"""Where the files of one case are."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One image with, usually, its label.

    Attributes:
        case_id: unique within its dataset.
        patient_id: ``<namespace>/<patient>``: one person has one patient_id over all datasets.
        image_paths: one file, or folder of DICOM slices, per modality, in the task's order; None where the case lacks it.
        label_path: None where the case has no label.
        absent: the target is known not to be in this scan; it has no label file, its label is all background.
    """

    case_id: str
    patient_id: str
    image_paths: tuple[Path | None, ...]
    label_path: Path | None
    absent: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is read of this case."""
        return tuple(path for path in (*self.image_paths, self.label_path) if path is not None)
