"""Rotation, scaling, mirroring: where a patch's voxels come from."""

from collections.abc import Sequence
from math import cos, sin

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from uniseg.sampling.augment.draws import AugmentDraw


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
    """Box ``image [M,z,y,x]``, ``label [z,y,x]``, of the size that ``box_margin`` says, centred on the patch -> patch
    ``[M,Z,Y,X]``, ``[Z,Y,X]``.

    Image trilinear, label nearest; both see the same grid.
    """
    if not draw.is_spatial:
        axes = [axis - 3 for axis in range(3) if draw.mirror[axis]]
        return (image.flip(axes), label.flip(axes)) if axes else (image, label)
    matrix = grid_matrix(draw) * np.where(draw.mirror, -1, 1)
    sample = _sample_grid if any(draw.rotation) else _sample_axes
    return sample(image, label, matrix, patch_size)


def _sample_axes(image: Tensor, label: Tensor, matrix: np.ndarray, patch_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """A diagonal ``matrix``: the axes apart, a third of the time of the grid."""
    weights = []
    for axis, (steps, size) in enumerate(zip(_steps(patch_size), label.shape, strict=True)):
        place = matrix[axis, axis] * steps + (size - 1) / 2
        near = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(size)))
        weights.append(torch.from_numpy(near.astype(np.float32)).to(image.device))
        label = label.index_select(axis, torch.from_numpy(np.rint(place).astype(np.int64)).to(label.device))
    z, y, x = weights
    image = torch.matmul(z, image.flatten(2)).unflatten(2, image.shape[2:])
    return torch.matmul(torch.matmul(y, image), x.T), label


def _sample_grid(image: Tensor, label: Tensor, matrix: np.ndarray, patch_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Any ``matrix``.

    Places are first in grid_sample's convention (-1..1 from edge to edge of the box), then in voxels of the box.
    """
    size = label.shape
    steps = [torch.from_numpy(steps.astype(np.float32)).to(image.device) for steps in _steps(patch_size)]
    scaled = torch.from_numpy((matrix * 2 / np.array(size)[:, None]).astype(np.float32)).to(image.device)
    z, y, x = (scaled[:, axis, None] * own for axis, own in enumerate(steps))
    place = z[:, :, None, None] + (y[:, None, :, None] + x[:, None, None, :])
    grid = torch.stack((place[2], place[1], place[0]), -1)
    image = F.grid_sample(image[None], grid[None], mode="bilinear", align_corners=False)[0]
    for own, n in zip(place, size, strict=True):
        own.mul_(n / 2).add_((n - 1) / 2).round_()
    index = place.int()
    index = index[0].mul_(size[1]).add_(index[1]).mul_(size[2]).add_(index[2])
    return image, label.flatten().index_select(0, index.flatten()).view(*patch_size)


def _steps(patch_size: Sequence[int]) -> list[np.ndarray]:
    """Voxel offsets from the patch centre along each axis."""
    return [np.arange(n) - (n - 1) / 2 for n in patch_size]
