"""The layout of BraTS 2021 or 2023, gliomas in four MR modalities.

Get it: https://www.synapse.org/brats2021, https://www.synapse.org/brats2023 (registration). Licence: the terms of the
challenge, see there. Cite: Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 benchmark on brain tumor segmentation and
radiogenomic classification, arXiv 2107.02314, 2021; Menze et al., The multimodal brain tumor image segmentation
benchmark (BRATS), IEEE Transactions on Medical Imaging 34, 2015.

The case id is the folder's name, ``BraTS2021_00000``; the published split uses the same names. That of 2023 ends with
the number of the time point, ``BraTS-GLI-00000-000``: its patient_pattern is ``^(BraTS-[A-Za-z]+-[0-9]+)-[0-9]+$``.
The enhancing tumour has label 4 in the files of 2021, 3 in those of 2023.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from uniseg.datasets.case import Case
from uniseg.datasets.layouts.base import LayoutCase
from uniseg.errors import InputError

ROOT_HOLDS = "a folder per case, <case>/<case>_flair.nii.gz and so on with <case>_seg.nii.gz"

ENDINGS_2021 = {"T1": "_t1", "T1ce": "_t1ce", "T2": "_t2", "FLAIR": "_flair"}
ENDINGS_2023 = {"T1": "-t1n", "T1ce": "-t1c", "T2": "-t2w", "FLAIR": "-t2f"}
TIME_POINT = re.compile("(BraTS-[A-Za-z]+-[0-9]+)-[0-9]+")


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """``<case>/<case>_flair.nii.gz`` with ``<case>/<case>_seg.nii.gz``, or ``-t2f`` with ``-seg`` as of 2023.

    The task's modalities are T1, T1ce, T2, FLAIR, in any order or a part of them.

    Raises:
        InputError: another modality.
    """
    unknown = [modality for modality in modalities if modality not in ENDINGS_2021]
    if unknown:
        raise InputError(
            root, f"modality '{unknown[0]}'", f"one of {', '.join(ENDINGS_2021)}", "correct the task's modalities"
        )
    for folder in sorted(root.iterdir()):
        for label_ending, endings in (("_seg", ENDINGS_2021), ("-seg", ENDINGS_2023)):
            label = folder / f"{folder.name}{label_ending}.nii.gz"
            if label.exists():
                yield LayoutCase(
                    folder.name,
                    tuple(folder / f"{folder.name}{endings[modality]}.nii.gz" for modality in modalities),
                    label,
                )


def dataset_warnings(root: Path, cases: Sequence[Case]) -> Iterator[tuple[Path, str, str]]:
    """Time points of one patient that count as several, and so may be in several splits."""
    patients: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if match := TIME_POINT.fullmatch(case.case_id):
            patients[match[1]].add(case.patient_id)
    apart = [name for name, ids in patients.items() if len(ids) > 1]
    if apart:
        expected = "one patient for the time points of one, as by source.patient_pattern '^(BraTS-[A-Za-z]+-[0-9]+)-'"
        yield root, f"time points of {apart[0]} as several patients ({len(apart)} such)", expected
