"""The layout of VerSe20, vertebrae in CT, with one folder a subject (BIDS).

Get it: https://osf.io/4skx2/ or https://github.com/anjany/verse. Licence: CC BY-SA 4.0.
Cite: Sekuboyina et al., VerSe: a vertebrae labelling and segmentation benchmark for multi-detector CT images, Medical
Image Analysis 73, 2021; Liebl et al., A computed tomography vertebral segmentation dataset with anatomical variations
and multi-vendor scanner data, Scientific Data 8, 2021; Loeffler et al., A vertebral segmentation dataset with fracture
grading, Radiology: Artificial Intelligence 2, 2020.

The case id is the subject, ``sub-verse500``, followed by ``_split-<value>`` where a subject has several series; the
direction (``dir-ax``) is left out. The published split names subjects: an entry stands for all series of that subject.
"""

from collections.abc import Iterator
from pathlib import Path

from uniseg.datasets.layouts.base import LayoutCase
from uniseg.errors import InputError

ROOT_HOLDS = "rawdata and derivatives, or folders of these"

LABEL_ENDING = "_seg-vert_msk.nii.gz"
IMAGE_ENDING = "_ct.nii.gz"


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """``rawdata/sub-*/*_ct.nii.gz`` with ``derivatives/sub-*/*_seg-vert_msk.nii.gz``.

    Both folders lie in ``root`` or in its folders (the training, validation and test subsets), which are pooled.

    Raises:
        InputError: the task has another number of modalities than one.
    """
    if len(modalities) != 1:
        raise InputError(root, f"modalities {list(modalities)}", "one, the CT", "correct the task's modalities")
    for subset in [root, *sorted(path for path in root.iterdir() if path.is_dir())]:
        for label in sorted(subset.glob(f"derivatives/sub-*/sub-*{LABEL_ENDING}")):
            series = label.name.removesuffix(LABEL_ENDING)
            case_id = "_".join(entity for entity in series.split("_") if not entity.startswith("dir-"))
            yield LayoutCase(case_id, (subset / "rawdata" / label.parent.name / f"{series}{IMAGE_ENDING}",), label)
