"""Rotation, scaling, mirroring: where a patch's voxels come from."""

from collections.abc import Sequence
from math import cos, sin

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from uniseg.stream.augment.draws import AugmentDraw


def grid_matrix(draw: AugmentDraw) -> np.ndarray:
    """3x3 over (z, y, x) voxel offsets from the patch centre: patch -> scan."""
    (cz, sz), (cy, sy), (cx, sx) = ((cos(angle), sin(angle)) for angle in draw.rotation)
    about_z = np.array([[1, 0, 0], [0, cz, -sz], [0, sz, cz]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[cx, -sx, 0], [sx, cx, 0], [0, 0, 1]])
    return draw.scale * about_z @ about_y @ about_x


def box_margin(draw: AugmentDraw, patch_size: Sequence[int]) -> tuple[int, int, int]:
    """Voxels that the patch needs beyond its own borders on both sides of each axis; negative where it needs fewer."""
    if not draw.is_spatial:
        return (0, 0, 0)
    half = (np.asarray(patch_size) - 1) / 2
    return tuple(int(np.ceil(reach - h)) for reach, h in zip(np.abs(grid_matrix(draw)) @ half, half, strict=True))


def sample_patch(image: Tensor, label: Tensor, draw: AugmentDraw, patch_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Box ``image [M,z,y,x]``, ``label [z,y,x]``, centred on the patch -> patch ``[M,Z,Y,X]``, ``[Z,Y,X]``.

    Image trilinear, label nearest; both see the same grid.
    """
    if draw.is_spatial:
        grid = _sampling_grid(draw, patch_size, image.shape[1:], image.device)
        image = F.grid_sample(image[None], grid, mode="bilinear", align_corners=False)[0]
        label = F.grid_sample(label[None, None].float(), grid, mode="nearest", align_corners=False)[0, 0].to(label.dtype)
    axes = [axis - 3 for axis in range(3) if draw.mirror[axis]]
    return (image.flip(axes), label.flip(axes)) if axes else (image, label)


def _sampling_grid(draw: AugmentDraw, patch_size: Sequence[int], box_size: Sequence[int], device: torch.device) -> Tensor:
    """``[1,Z,Y,X,3]`` in grid_sample's convention (x, y, z in -1..1 from edge to edge of the box)."""
    matrix = torch.tensor(grid_matrix(draw), dtype=torch.float32, device=device) * (2 / torch.tensor(box_size, device=device))[:, None]
    axes = [torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2 for n in patch_size]
    terms = [matrix[:, axis] * steps[:, None] for axis, steps in enumerate(axes)]
    grid = terms[0][:, None, None] + terms[1][None, :, None] + terms[2][None, None]
    return grid.flip(-1)[None]
