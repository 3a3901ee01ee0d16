"""Small tasks with small files for the tests."""

from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.task import Normalization, Task, TaskSet


def make_task(
    name: str = "liver", modalities=("CT",), classes=("background", "liver", "tumour"), spacing_mm=(2, 1, 1), **more
) -> Task:
    how = {"CT": Normalization("window", lower=-325, upper=325)}
    return Task(
        name,
        modalities,
        classes,
        spacing_mm,
        tuple(how.get(m, Normalization("zscore", masked=False)) for m in modalities),
        **more,
    )


def save_nifti(path: Path, array_zyx: np.ndarray, affine_xyz: np.ndarray | None = None) -> Path:
    """Write ``[Z,Y,X]`` as a NIfTI whose axes are (x, y, z)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(
        nib.Nifti1Image(
            np.ascontiguousarray(array_zyx.T), np.diag([1.0, 1, 1, 1]) if affine_xyz is None else affine_xyz
        ),
        path,
    )
    return path


def small_model(tasks: TaskSet, seed: int = 0) -> UniSegModel:
    """A network of a few thousand weights whose head says more than one thing."""
    torch.manual_seed(seed)
    encoder = partial(
        UNetEncoder, channels=[6, 8, 8], strides=[[1, 2, 2], [2, 2, 2]], kernels=[[1, 3, 3], [3, 3, 3], [3, 3, 3]]
    )
    conditioning = partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True)
    return UniSegModel(
        tasks, patch_size=(8, 16, 16), encoder=encoder, conditioning=conditioning, head=StaticHead
    ).eval()
