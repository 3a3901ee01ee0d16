"""How two grids relate: the same, one cut out of the other, or to be resampled."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy import ndimage

from uniseg.errors import InputError

TOLERANCE = 0.05  # of a voxel, at the corners of a grid


@dataclass(frozen=True)
class Grid:
    """Where a scan's voxels lie.

    Attributes:
        path: for messages.
        shape: (z, y, x).
        affine: 4x4, index (z, y, x, 1) -> RAS mm.

    Examples:
        >>> Grid(Path("a.nii"), (3, 4, 5), np.diag([2.0, 1, 1, 1])).spacing_mm
        (2.0, 1.0, 1.0)
    """

    path: Path
    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))


def is_same(grid: Grid, other: Grid) -> bool:
    """Whether every voxel of ``grid`` lies on its namesake of ``other``."""
    return grid.shape == other.shape and _is_offset(grid, other, np.zeros(3))


def require_same(grid: Grid, other: Grid) -> None:
    """``is_same``, or else

    Raises:
        InputError: another shape, spacing, direction or origin.
    """
    if grid.shape != other.shape:
        raise InputError(
            grid.path, f"shape {grid.shape}", f"{other.shape}, as {other.path.name}", "put both on one grid"
        )
    if not is_same(grid, other):
        raise _differs(grid, other)


def offset_in(part: Grid, whole: Grid) -> tuple[int, int, int]:
    """Index in ``whole`` of the first voxel of ``part``; negative, or too large, where ``part`` reaches beyond.

    Raises:
        InputError: the voxels of the two do not coincide.
    """
    offset = np.rint((np.linalg.inv(whole.affine) @ part.affine)[:3, 3])
    if not _is_offset(part, whole, offset):
        raise _differs(part, whole)
    return tuple(int(n) for n in offset)


def paste(label: np.ndarray, part: Grid, whole: Grid) -> np.ndarray:
    """``[z,y,x]`` of ``part`` -> ``[Z,Y,X]`` of ``whole``, 0 elsewhere.

    Raises:
        InputError: as ``offset_in``, or labelled voxels lie beyond ``whole``.
    """
    out = np.zeros(whole.shape, label.dtype)
    source, target = [], []
    for offset, size, room in zip(offset_in(part, whole), part.shape, whole.shape, strict=True):
        low, high = max(offset, 0), max(min(offset + size, room), max(offset, 0))
        target.append(slice(low, high))
        source.append(slice(low - offset, high - offset))
    inside = label[tuple(source)]
    lost = np.count_nonzero(label) - np.count_nonzero(inside)
    if lost:
        raise InputError(
            part.path,
            f"{lost} labelled voxels beyond {whole.path.name}",
            "a label within the image",
            "give the image it was drawn on",
        )
    out[tuple(target)] = inside
    return out


def resample_onto(array: np.ndarray, grid: Grid, target: Grid) -> np.ndarray:
    """``[M,z,y,x]`` on ``grid`` -> ``[M,Z,Y,X]`` float32 on ``target``: linear; voxels outside get the modality's
    minimum.
    """
    into = np.linalg.inv(grid.affine) @ target.affine
    outside = _outside(into, target.shape, grid.shape)
    out = np.empty((len(array), *target.shape), np.float32)
    for channel, moved in zip(array, out, strict=True):
        ndimage.affine_transform(channel, into[:3, :3], into[:3, 3], output=moved, order=1, mode="nearest")
        moved[outside] = channel.min()
    return out


def _outside(into: np.ndarray, shape: tuple[int, int, int], moving_shape: tuple[int, int, int]) -> np.ndarray:
    """``[Z,Y,X]`` bool: centres that ``into`` takes more than half a voxel beyond the outermost centres of the moving
    scan.
    """
    indices = np.ogrid[tuple(slice(n) for n in shape)]
    outside = np.zeros(shape, bool)
    for row, size in zip(into[:3], moving_shape, strict=True):
        at = sum(factor * index for factor, index in zip(row[:3], indices, strict=True)) + row[3]
        outside |= (at < -0.5 - 1e-6) | (at > size - 0.5 + 1e-6)
    return outside


def _is_offset(part: Grid, whole: Grid, offset: np.ndarray) -> bool:
    corners = np.array([[*corner, 1.0] for corner in product(*((0, n - 1) for n in part.shape))]).T
    shift = np.eye(4)
    shift[:3, 3] = offset
    distance = np.linalg.norm(((part.affine - whole.affine @ shift) @ corners)[:3], axis=0).max()
    tilted = np.abs(part.affine[:3, :3] - whole.affine[:3, :3]).max()  # an axis of one voxel has no far corner
    return max(distance, tilted) <= TOLERANCE * min(whole.spacing_mm)


def _differs(grid: Grid, other: Grid) -> InputError:
    found = f"affine {np.round(grid.affine[:3], 3).tolist()}"
    return InputError(
        grid.path, found, f"that of {other.path.name}, {np.round(other.affine[:3], 3).tolist()}", "put both on one grid"
    )
