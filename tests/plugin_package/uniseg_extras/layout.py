"""A layout of one's own: a folder per patient with scan.nii.gz and mask.nii.gz."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from uniseg.datasets.case import Case
from uniseg.datasets.layouts.base import LayoutCase

ROOT_HOLDS = "a folder per patient, with scan.nii.gz and mask.nii.gz"


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """One case per folder."""
    for mask in sorted(root.glob("*/mask.nii.gz")):
        yield LayoutCase(mask.parent.name, (mask.parent / "scan.nii.gz",), mask)


def dataset_warnings(root: Path, cases: Sequence[Case]) -> Iterator[tuple[Path, str, str]]:
    """An odd number of patients."""
    if len(cases) % 2:
        yield root, f"{len(cases)} patients", "an even number"
