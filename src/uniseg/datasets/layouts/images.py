"""The layout of a bare folder of images, without labels: what a pretext task learns from.

``root`` holds one file or one folder of DICOM slices per case; where the task has several modalities, the numbered
files ``<case>_0000``, ``<case>_0001``, ... of a case are its channels, in order. Names are those of ``uniseg.predict``.
"""

from collections.abc import Iterator
from pathlib import Path

from uniseg.datasets.inputs import find_inputs
from uniseg.datasets.layouts.base import LayoutCase

ROOT_HOLDS = "images, one file or DICOM folder per case or, with several modalities, per channel"


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """Every image of the folder.

    Raises:
        InputError: as of ``find_inputs``.
    """
    for case in find_inputs(root, {len(modalities)}):
        yield LayoutCase(case.case_id, case.image_paths, None)
