"""Where a patch's voxels come from: one matrix, patch -> scan, sampled once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from uniseg.device_copy import to_device

Matrix = Sequence[Sequence[float]] | np.ndarray  # 3x3 over (z, y, x) voxel offsets from the patch centre


def box_margin(matrix: Matrix | None, patch_size: Sequence[int]) -> tuple[int, int, int]:
    """Voxels that the patch needs beyond its own borders on both sides of each axis; negative where it needs fewer."""
    if matrix is None or _only_flips(np.asarray(matrix)):
        return (0, 0, 0)
    half = (np.asarray(patch_size) - 1) / 2
    return tuple(int(np.ceil(reach - h)) for reach, h in zip(np.abs(matrix) @ half, half, strict=True))


def sample_patch(
    image: Tensor, label: Tensor, matrix: Matrix | None, patch_size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Box ``image [M,z,y,x]``, ``label [z,y,x]``, of the size that ``box_margin`` says, centred on the patch -> patch
    ``[M,Z,Y,X]``, ``[Z,Y,X]``.

    Image trilinear, label nearest; both see the same grid.
    """
    if matrix is None:
        return image, label
    matrix = np.asarray(matrix)
    if _only_flips(matrix):
        axes = [axis - 3 for axis in range(3) if matrix[axis, axis] < 0]
        return image.flip(axes), label.flip(axes)
    sample = _sample_axes if _is_diagonal(matrix) else _sample_grid
    return sample(image, label, matrix, patch_size)


def _only_flips(matrix: np.ndarray) -> bool:
    return bool((np.abs(matrix) == np.eye(3)).all())


def _is_diagonal(matrix: np.ndarray) -> bool:
    return not matrix[~np.eye(3, dtype=bool)].any()


def _sample_axes(image: Tensor, label: Tensor, matrix: np.ndarray, patch_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """A diagonal ``matrix``: the axes apart, a third of the time of the grid."""
    weights = []
    for axis, (steps, size) in enumerate(zip(_steps(patch_size), label.shape, strict=True)):
        source = matrix[axis, axis] * steps + (size - 1) / 2
        near = np.maximum(0, 1 - np.abs(source[:, None] - np.arange(size)))
        weights.append(to_device(near.astype(np.float32), image.device))
        label = label.index_select(axis, to_device(np.rint(source).astype(np.int64), label.device))
    z, y, x = weights
    image = torch.matmul(z, image.flatten(2)).unflatten(2, image.shape[2:])
    return torch.matmul(torch.matmul(y, image), x.T), label


def _sample_grid(image: Tensor, label: Tensor, matrix: np.ndarray, patch_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Any ``matrix``.

    Sources are first in grid_sample's convention (-1..1 from edge to edge of the box), then in voxels of the box.
    """
    size = label.shape
    steps = [to_device(axis.astype(np.float32), image.device) for axis in _steps(patch_size)]
    scaled = to_device((matrix * 2 / np.array(size)[:, None]).astype(np.float32), image.device)
    z, y, x = (scaled[:, axis, None] * step for axis, step in enumerate(steps))
    source = z[:, :, None, None] + (y[:, None, :, None] + x[:, None, None, :])
    grid = torch.stack((source[2], source[1], source[0]), -1)
    image = F.grid_sample(image[None], grid[None], mode="bilinear", align_corners=False)[0]
    for axis, n in zip(source, size, strict=True):
        axis.mul_(n / 2).add_((n - 1) / 2).round_()
    index = source.int()
    index = index[0].mul_(size[1]).add_(index[1]).mul_(size[2]).add_(index[2])
    return image, label.flatten().index_select(0, index.flatten()).view(*patch_size)


def _steps(patch_size: Sequence[int]) -> list[np.ndarray]:
    """Voxel offsets from the patch centre along each axis."""
    return [np.arange(n) - (n - 1) / 2 for n in patch_size]
