"""One module per dataset layout.

Each has one function, ``find_files(root, modalities)``, that yields ``Files`` for every case that it finds. One that has more
to say of a dataset's own description may have ``remarks(root, cases)``, which yields (where, found, expected) of what is odd but harmless.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Files:
    """What a layout knows of one case.

    Attributes:
        case_id: unique within the dataset.
        image_paths: where the image of each modality should be, in the task's order; None where the layout states that there
            is none. A single 4-D file may hold all modalities.
        label_path: None where the case has no label.
        patient: None: ``source.patient_pattern`` tells it from the case id.
        absent: there is no label because the target is known to be absent.
        side: train, dev or test where the dataset itself states it.
        where: the place that lists the case, for messages; None: the dataset's folder.
    """

    case_id: str
    image_paths: tuple[Path | None, ...]
    label_path: Path | None
    patient: str | None = None
    absent: bool = False
    side: str | None = None
    where: str | None = None
