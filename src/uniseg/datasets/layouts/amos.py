"""The layout of AMOS 2022, abdominal organs in CT and in MR, which share its folders.

Get it: https://zenodo.org/records/7262581 (``amos22.zip``). Licence: CC BY-SA 4.0 in its ``dataset.json``, CC BY 4.0 on
the page. Cite: Ji et al., AMOS: a large-scale abdominal multi-organ benchmark for versatile medical image
segmentation, NeurIPS Datasets and Benchmarks, 2022.

The case id is the file's name, ``amos_0001``. Numbers below 500 are CT, the others MR of other patients; which of them
a task has follows from its modality. ``imagesVa`` with ``labelsVa`` is for val, as the data set says; the labels of its
``imagesTs`` were not published.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from uniseg.datasets.layouts.base import LayoutCase
from uniseg.errors import InputError
from uniseg.images.files import case_id_of
from uniseg.preprocessing.modality import CT, MR, kind_of

ROOT_HOLDS = "imagesTr, labelsTr, imagesVa, labelsVa with amos_0001.nii.gz and so on"

FIRST_MR = 500
NAME = re.compile("amos_([0-9]{4})")
PARTS = {"Tr": None, "Va": "val"}


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """``imagesTr/amos_0001.nii.gz`` with ``labelsTr/amos_0001.nii.gz``, and those of ``Va``: CT or MR as the task has.

    Raises:
        InputError: the task has another number of modalities than one, or one that is neither CT nor MR.
    """
    kind = kind_of(modalities[0]) if len(modalities) == 1 else ""
    if kind not in (CT, MR):
        raise InputError(root, f"modalities {list(modalities)}", "one, CT or MR", "correct the task's modalities")
    for part, split in PARTS.items():
        for label in sorted((root / f"labels{part}").glob("*")):
            match = NAME.fullmatch(case_id_of(label) or "")
            if match and (int(match[1]) < FIRST_MR) == (kind == CT):
                yield LayoutCase(match[0], (root / f"images{part}" / label.name,), label, split=split)
