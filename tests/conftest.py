"""Small things that many tests need."""

import sys
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from uniseg import schema
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Normalization, Task, TaskSet

REPO = Path(__file__).parents[1]
PYTHON = sys.executable


@pytest.fixture(autouse=True)
def _few_threads():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _schemas():
    schema.register()


def make_task(name: str = "liver", modalities=("CT",), classes=("background", "liver", "tumour"), spacing_mm=(2, 1, 1)) -> Task:
    how = {"CT": Normalization("window", lower=-325, upper=325)}
    return Task(name, modalities, classes, spacing_mm, tuple(how.get(m, Normalization("zscore", masked=False)) for m in modalities))


@pytest.fixture
def tasks() -> TaskSet:
    return TaskSet(
        [
            make_task(),
            make_task("prostate", ("T2",), ("background", "prostate")),
            make_task("brain", ("T1", "T1ce", "T2", "FLAIR"), ("background", "oedema", "necrosis", "enhancing")),
        ]
    )


@pytest.fixture
def model(tasks) -> UniSegModel:
    return UniSegModel(
        tasks,
        patch_size=(8, 16, 16),
        encoder=partial(UNetEncoder, channels=[4, 8, 8], strides=[[1, 2, 2], [2, 2, 2]], kernels=[[1, 3, 3], [3, 3, 3], [3, 3, 3]]),
        conditioning=partial(FusePrompt, hidden_channels=None),
        head=StaticHead,
    )


def save_nifti(path: Path, array_zyx: np.ndarray, affine_xyz: np.ndarray | None = None) -> Path:
    """Write ``[Z,Y,X]`` as a NIfTI whose axes are (x, y, z)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array_zyx.T), np.diag([1.0, 1, 1, 1]) if affine_xyz is None else affine_xyz), path)
    return path
