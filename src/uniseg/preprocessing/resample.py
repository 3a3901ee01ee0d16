"""Resampling to another spacing: three small matrix products, one per axis; nnU-Net's choice of the spacing.

Spline interpolation is linear in the voxels and separable, so resampling an axis from n to m voxels is an m x n
matrix. The matrix comes from SciPy's own spline applied to the identity; voxel edges (not centres) stay in place, as
skimage's ``resize`` and nnU-Net do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from uniseg.device_copy import to_device

COARSE_RATIO = 3.0  # nnU-Net: above this anisotropy the coarse axis is resampled apart, by nearest neighbour
# nnU-Net: an axis counts as coarse where it is that many times coarser, with that many times fewer voxels.
ANISOTROPY = 3
ANISOTROPIC_PERCENTILE = 10
SAME_SPACING = 1e-3  # relative; spacings come out of affines


def target_spacing(spacings: np.ndarray, shapes: np.ndarray) -> tuple[float, float, float]:
    """nnU-Net's spacing (z, y, x) in mm for cases of ``spacings [n,3]`` with ``shapes [n,3]``, from headers alone.

    The median; of an axis that is coarse in spacing as in voxels, the 10th percentile, but not finer than the other
    axes (``ExperimentPlanner.determine_fullres_target_spacing``, which takes the shapes after cropping).
    """
    spacing, shape = np.median(spacings, 0), np.median(shapes, 0)
    coarse = int(spacing.argmax())
    finer, longer = np.delete(spacing, coarse).max(), np.delete(shape, coarse).min()
    if spacing[coarse] > ANISOTROPY * finer and shape[coarse] * ANISOTROPY < longer:
        spacing[coarse] = max(np.percentile(spacings[:, coarse], ANISOTROPIC_PERCENTILE), finer)
    return tuple(round(float(s), 6) for s in spacing)


def target_shape(shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]) -> tuple[int, ...]:
    """Voxels of the same extent at another spacing."""
    return tuple(max(1, round(n * s / t)) for n, s, t in zip(shape, spacing_mm, target_mm, strict=True))


def axis_orders(order: int, spacing_mm: Sequence[float], target_mm: Sequence[float]) -> tuple[int, int, int]:
    """Spline order per axis: ``order``, but 0 along the coarse axis of a scan (or else of the target) more anisotropic
    than 3.

    Where two axes are equally coarse none is resampled apart, as in nnU-Net.
    """
    for spacing in (spacing_mm, target_mm):
        if max(spacing) / min(spacing) > COARSE_RATIO:
            coarse = np.isclose(spacing, max(spacing), rtol=SAME_SPACING, atol=0)
            return tuple(0 if apart else order for apart in coarse) if coarse.sum() == 1 else (order,) * 3
    return (order,) * 3


@lru_cache(maxsize=256)
def axis_matrix(size: int, new_size: int, order: int) -> np.ndarray:
    """``[new_size, size]`` float32: spline interpolation of ``order`` along one axis, edges repeated."""
    if size == new_size:
        return np.eye(size, dtype=np.float32)
    scale = size / new_size
    centres = (np.arange(new_size) + 0.5) * scale - 0.5
    if order == 0:
        return np.eye(size, dtype=np.float32)[np.clip(np.floor(centres + 0.5).astype(int), 0, size - 1)]
    if size == 1:
        return np.ones((new_size, 1), np.float32)
    rows = [ndimage.map_coordinates(unit, centres[None], order=order, mode="nearest") for unit in np.eye(size)]
    return np.stack(rows, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Taps:
    """Linear or nearest interpolation along one axis: new voxel i is ``old[low[i]]`` moved towards ``old[high[i]]`` by
    ``fraction[i]``.

    Examples:
        >>> taps = axis_taps(2, 4, order=1)
        >>> taps.low.tolist(), taps.fraction.tolist()
        ([0, 0, 0, 1], [0.0, 0.25, 0.75, 0.0])
    """

    low: np.ndarray
    high: np.ndarray
    fraction: np.ndarray

    def within(self, start: int, stop: int) -> "Taps":
        return Taps(self.low[start:stop], self.high[start:stop], self.fraction[start:stop])


def axis_taps(size: int, new_size: int, order: int) -> Taps:
    """``axis_matrix`` of order 0 or 1, by its two numbers per row."""
    centres = np.clip((np.arange(new_size) + 0.5) * (size / new_size) - 0.5, 0, size - 1)
    low = np.floor(centres + (0.5 if order == 0 and size != new_size else 0)).astype(np.int64).clip(0, size - 1)
    fraction = np.zeros(new_size) if order == 0 or size == new_size else centres - low
    return Taps(low, np.where(fraction > 0, np.minimum(low + 1, size - 1), low), fraction.astype(np.float32))


def resample(
    array: Tensor, shape: Sequence[int], orders: Sequence[int], start: int = 0, stop: int | None = None
) -> Tensor:
    """``[...,Z,Y,X]`` -> ``[...,z,y,x]`` float32 of ``shape``; with ``start`` and ``stop`` only those planes along the
    new z.

    Works on the tensor's device.
    """
    matrices = [axis_matrix(n, m, o) for n, m, o in zip(array.shape[-3:], shape, orders, strict=True)]
    rows = matrices[0][start:stop]
    used = np.flatnonzero(np.abs(rows).sum(0))
    low, high = int(used[0]), int(used[-1]) + 1
    z, y, x = (to_device(matrix, array.device) for matrix in (rows[:, low:high], *matrices[1:]))
    part = torch.einsum("pz,...zyx->...pyx", z, array[..., low:high, :, :].float())
    return torch.matmul(torch.matmul(y, part), x.T)


def resample_image(array: np.ndarray, spacing_mm: Sequence[float], target_mm: Sequence[float]) -> np.ndarray:
    """``[M,Z,Y,X]`` -> the same scan at ``target_mm``, cubic.

    A modality keeps within its own range; where a coarse axis is resampled apart, a plane within its own, as nnU-Net's
    planes do.
    """
    return resample_tensor(torch.from_numpy(array), spacing_mm, target_mm).numpy()


def resample_tensor(array: Tensor, spacing_mm: Sequence[float], target_mm: Sequence[float]) -> Tensor:
    """``resample_image`` of a tensor, on its device."""
    shape = target_shape(array.shape[1:], spacing_mm, target_mm)
    if shape == tuple(array.shape[1:]):
        return array
    orders = axis_orders(3, spacing_mm, target_mm)
    return torch.stack([_clamp(resample(channel, shape, orders), channel, orders) for channel in array])


def _clamp(resampled: Tensor, channel: Tensor, orders: Sequence[int]) -> Tensor:
    """``resampled [z,y,x]``, in place, within the range of ``channel [Z,Y,X]`` or of its planes across an axis of order
    0.
    """
    if 0 not in orders:
        return resampled.clamp_(channel.min(), channel.max())
    coarse = orders.index(0)
    across = tuple(axis for axis in range(3) if axis != coarse)
    matrix = axis_matrix(channel.shape[coarse], resampled.shape[coarse], 0)
    planes = to_device(matrix.argmax(1), channel.device)
    low, high = (
        bound.index_select(coarse, planes) for bound in (channel.amin(across, True), channel.amax(across, True))
    )
    return resampled.clamp_(low, high)


def resample_label(label: np.ndarray, spacing_mm: Sequence[float], target_mm: Sequence[float]) -> np.ndarray:
    """``[Z,Y,X]`` int16 -> the same at ``target_mm``: linear per value, then the largest.

    Of equal fractions the higher value wins: at half the resolution every surface voxel is such a tie, and a thin
    target would be lost to the background.
    """
    shape = target_shape(label.shape, spacing_mm, target_mm)
    if shape == label.shape:
        return label
    orders = axis_orders(1, spacing_mm, target_mm)
    best, out = torch.full(shape, -1.0), torch.zeros(shape, dtype=torch.int16)
    for value in np.unique(label):
        fraction = resample(torch.from_numpy(label == value), shape, orders)
        out[fraction >= best] = int(value)
        best = torch.maximum(best, fraction)
    return out.numpy()
