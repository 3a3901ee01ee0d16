"""The layout of KiTS19, kidneys with tumours in CT.

Get it: https://github.com/neheller/kits19 (clone, then ``python -m starter_code.get_imaging``). Licence: CC BY-NC-SA
4.0. Cite: Heller et al., The state of the art in kidney and kidney tumor segmentation in contrast-enhanced CT imaging:
results of the KiTS19 challenge, Medical Image Analysis 67, 2021.

The case id is the folder's name. The published split calls ``case_00007`` ``kidney_7``: the same number without the
zeros.
"""

from collections.abc import Iterator
from pathlib import Path

from uniseg.datasets.layouts.base import LayoutCase
from uniseg.errors import InputError

ROOT_HOLDS = "case_00000/ with imaging.nii.gz and segmentation.nii.gz"


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """``case_00000/imaging.nii.gz`` with ``segmentation.nii.gz``; cases 210 to 299 come without a label and are left
    out.

    Raises:
        InputError: the task has another number of modalities than one.
    """
    if len(modalities) != 1:
        raise InputError(root, f"modalities {list(modalities)}", "one, the CT", "correct the task's modalities")
    for label in sorted(root.glob("case_*/segmentation.nii.gz")):
        yield LayoutCase(label.parent.name, (label.parent / "imaging.nii.gz",), label)
