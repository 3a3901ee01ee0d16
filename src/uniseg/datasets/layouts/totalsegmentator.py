"""The layout of TotalSegmentator, CT or MR with one mask per class.

Get it: https://zenodo.org/records/10047292 (CT, 117 classes), https://zenodo.org/records/14710732 (MR, 50 classes).
Licence: CC BY 4.0 (CT), CC BY-NC-SA 2.0 (MR, of that record). Cite: Wasserthal et al., TotalSegmentator: robust
segmentation of 104 anatomic structures in CT images, Radiology: Artificial Intelligence 5, 2023; Akinci D'Antonoli et
al., TotalSegmentator MRI: robust sequence-independent segmentation of multiple anatomic structures in MRI, Radiology
314, 2025.

The case id is the subject's folder, ``s0000``. The split is that of ``meta.csv``, where it has one. Masks are merged
into one label map: the classes of the task choose them, and a voxel of two classes is that of the later one.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from uniseg.datasets.case import Case
from uniseg.datasets.layouts.base import LayoutCase
from uniseg.datasets.split_file import SPLITS
from uniseg.errors import InputError
from uniseg.images.files import case_id_of

ROOT_HOLDS = "a folder per subject, s0000/ct.nii.gz or mri.nii.gz with s0000/segmentations/<class>.nii.gz"

IMAGES = ("ct.nii.gz", "mri.nii.gz")
MASKS, TABLE = "segmentations", "meta.csv"


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """``s0000/ct.nii.gz`` or ``mri.nii.gz`` with ``s0000/segmentations/<class>.nii.gz``; a subject without that folder
    has no label.

    Raises:
        InputError: the task has another number of modalities than one, or ``meta.csv`` states what is no split.
    """
    if len(modalities) != 1:
        raise InputError(root, f"modalities {list(modalities)}", "one, the CT or MR", "correct the task's modalities")
    splits = _splits(root / TABLE)
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        image = next((folder / name for name in IMAGES if (folder / name).exists()), folder / IMAGES[0])
        masks = _masks(folder / MASKS)
        if masks or image.exists():
            label = folder / MASKS if masks else None
            yield LayoutCase(folder.name, (image,), label, split=splits.get(folder.name), masks=masks or None)


def dataset_warnings(root: Path, cases: Sequence[Case]) -> Iterator[tuple[Path, str, str]]:
    """Subjects that ``meta.csv`` puts into no split although it does others: they are for training."""
    if _splits(root / TABLE):
        left = [case.case_id for case in cases if case.split is None]
        if left:
            yield root / TABLE, f"no split for {len(left)} subjects ({', '.join(left[:5])})", "one for each subject"


def _masks(folder: Path) -> dict[str, Path]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {name: path for path in paths if (name := case_id_of(path)) is not None}


def _splits(table: Path) -> Mapping[str, str]:
    """Subject -> split, as far as the table states one."""
    if not table.is_file():
        return {}
    try:
        text = table.read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text), delimiter=";" if ";" in text.partition("\n")[0] else ","))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(table, f"{type(error).__name__} ({error})", "a table in UTF-8", "restore the file") from error
    splits = {row["image_id"]: row["split"].strip() for row in rows if row.get("image_id") and row.get("split")}
    wrong = next((subject for subject, split in splits.items() if split not in SPLITS), None)
    if wrong is not None:
        expected = f"one of {', '.join(SPLITS)}"
        raise InputError(table, f"split '{splits[wrong]:.60}' of '{wrong:.60}'", expected, "correct the table")
    return splits
