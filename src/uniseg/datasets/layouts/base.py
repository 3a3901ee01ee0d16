"""What a layout yields, one case at a time.

A layout is a module beside this one, or one of an installed package in the entry-point group ``uniseg.layouts``, with

* ``find_files(root, modalities)``, which yields a ``LayoutCase`` for every case that it finds;
* if wanted ``dataset_warnings(root, cases)``, which yields (where, found, expected) of what is odd but harmless in the
  dataset's own description;
* if wanted ``ROOT_HOLDS``, a few words on what ``source.root`` has to hold, for messages and task files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uniseg.errors import InputError
from uniseg.files import require_file_name


@dataclass(frozen=True)
class LayoutCase:
    """What a layout knows of one case.

    Example:
        >>> LayoutCase("case_1", (Path("ct.nii.gz"),), Path("label.nii.gz"), split="train").split
        'train'

    Attributes:
        case_id: unique within the dataset.
        image_paths: where the image of each modality should be, in the task's order; None where the layout states that
            there is none. A single 4-D file may hold all modalities.
        label_path: None where the case has no label.
        patient: None: ``source.patient_pattern`` tells it from the case id.
        namespace: of the patient, in place of the source's; None: the source's.
        absent: there is no label because the target is known to be absent.
        split: train, val or test where the dataset itself states it.
        where: the place that lists the case, for messages; None: its files alone.
        masks: in place of a label map, name -> file of every mask that the case has; the task's classes choose among
            them. ``label_path`` is then the folder that holds them.

    Raises:
        InputError: a case id that cannot name a file, or a patient that cannot be printed.
    """

    case_id: str
    image_paths: tuple[Path | None, ...]
    label_path: Path | None
    patient: str | None = None
    absent: bool = False
    split: str | None = None
    where: str | None = None
    masks: Mapping[str, Path] | None = None
    namespace: str | None = None

    def __post_init__(self) -> None:
        where = self.where or self.label_path or next((path for path in self.image_paths if path), "dataset")
        require_file_name(where, "case", self.case_id)
        if self.patient is not None and not (
            isinstance(self.patient, str) and self.patient and self.patient.isprintable()
        ):
            raise InputError(where, f"patient {self.patient!r:.60}", "printable text", "correct the patient")
