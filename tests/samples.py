"""Small tasks with small files for the tests."""

from pathlib import Path

import nibabel as nib
import numpy as np

from uniseg.task import Normalization, Task


def make_task(name: str = "liver", modalities=("CT",), classes=("background", "liver", "tumour"), spacing_mm=(2, 1, 1), **more) -> Task:
    how = {"CT": Normalization("window", lower=-325, upper=325)}
    return Task(name, modalities, classes, spacing_mm, tuple(how.get(m, Normalization("zscore", masked=False)) for m in modalities), **more)


def save_nifti(path: Path, array_zyx: np.ndarray, affine_xyz: np.ndarray | None = None) -> Path:
    """Write ``[Z,Y,X]`` as a NIfTI whose axes are (x, y, z)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array_zyx.T), np.diag([1.0, 1, 1, 1]) if affine_xyz is None else affine_xyz), path)
    return path
