"""The layout of FLARE 2022, abdominal organs in CT: a few labelled scans beside thousands without a label.

Get it: https://flare22.grand-challenge.org/Dataset. Licence: that of the challenge, see there. Cite: Ma et al.,
Unleashing the strengths of unlabelled data in deep learning-assisted pan-cancer abdominal organ quantification: the
FLARE22 challenge, Lancet Digital Health 6, 2024.

The case id is the name of the label, ``FLARE22_Tr_0001``. Scans without a label are left out. Where a label names only
some of the organs that the scan shows, as in FLARE 2023, nothing in the files says so: list in ``source.splits`` the
cases in which the task's organs are complete.
"""

from collections.abc import Iterator
from pathlib import Path

from uniseg.datasets.layouts.base import LayoutCase
from uniseg.errors import InputError
from uniseg.images.files import ENDINGS, case_id_of

ROOT_HOLDS = "images/FLARE22_Tr_0001_0000.nii.gz with labels/FLARE22_Tr_0001.nii.gz, or folders of these"

PAIRS = (("images", "labels"), ("imagesTr", "labelsTr"))
DEPTH = 3  # Training/FLARE22_LabeledCase50/labels


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """``images/<case>_0000.nii.gz`` with ``labels/<case>.nii.gz`` in ``root`` or in folders below it, which are pooled.

    Raises:
        InputError: the task has another number of modalities than one.
    """
    if len(modalities) != 1:
        raise InputError(root, f"modalities {list(modalities)}", "one, the CT", "correct the task's modalities")
    for images, labels in PAIRS:
        for depth in range(DEPTH):
            for folder in sorted(root.glob("*/" * depth + labels)):
                yield from _pairs(folder.parent / images, folder)


def _pairs(images: Path, labels: Path) -> Iterator[LayoutCase]:
    for label in sorted(labels.glob("*")):
        case_id = case_id_of(label) if label.is_file() else None
        if case_id is not None:
            candidates = [images / f"{case_id}_0000{ending}" for ending in ENDINGS]
            yield LayoutCase(case_id, (next((p for p in candidates if p.exists()), candidates[0]),), label)
