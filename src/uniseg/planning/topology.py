"""How often a patch is halved along each axis: nnU-Net's rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

Triple = tuple[int, int, int]

MIN_EDGE = 4  # voxels: nnU-Net's smallest feature map along an axis that was halved
SMALLEST_PATCH = 16  # voxels per axis: two halvings down to MIN_EDGE
FIRST_PATCH = 256**3  # voxels, nnU-Net's start before the median shape clips it


@dataclass(frozen=True)
class Topology:
    """A patch with the strides and kernels that fit it.

    Attributes:
        patch_size: (Z, Y, X) voxels, multiples of ``divisor``.
        strides: per stage after the first.
        kernels: per stage.

    Examples:
        >>> fit_topology((64, 192, 192), (3, 1.5, 1.5)).divisor
        (16, 32, 32)
    """

    patch_size: Triple
    strides: tuple[Triple, ...]
    kernels: tuple[Triple, ...]

    @property
    def divisor(self) -> Triple:
        return tuple(prod(stride[axis] for stride in self.strides) for axis in range(3))

    def channels(self, first: int, most: int) -> tuple[int, ...]:
        """Width per stage: doubled from ``first``, at most ``most``."""
        return tuple(min(first * 2**stage, most) for stage in range(len(self.kernels)))


def fit_topology(size: Sequence[int], spacing: Sequence[float]) -> Topology:
    """nnU-Net v2's ``get_pool_and_conv_props``: halve the axes whose spacing is below twice the finest until maps have
    4 voxels.

    ``spacing`` may have any unit. A kernel is 1 along an axis until its spacing is below twice the finest, 3 in the
    bottleneck. The size is rounded up to a multiple of the strides.
    """
    edges, spacing = list(size), list(spacing)
    kernel: tuple[int, ...] = (1, 1, 1)
    strides, kernels = [], []
    while axes := _axes_to_halve(edges, spacing):
        kernel = tuple(3 if k == 3 or s / min(spacing) < 2 else 1 for k, s in zip(kernel, spacing, strict=True))
        stride = tuple(2 if axis in axes else 1 for axis in range(3))
        strides.append(stride)
        kernels.append(kernel)
        spacing = [s * step for s, step in zip(spacing, stride, strict=True)]
        edges = [ceil(n / step) for n, step in zip(edges, stride, strict=True)]
    divisor = [prod(stride[axis] for stride in strides) for axis in range(3)]
    patch_size = tuple(ceil(n / d) * d for n, d in zip(size, divisor, strict=True))
    return Topology(patch_size, tuple(strides), (*kernels, (3, 3, 3)))


def _axes_to_halve(edges: Sequence[int], spacing: Sequence[float]) -> list[int]:
    large = [axis for axis in range(3) if edges[axis] >= 2 * MIN_EDGE]
    near = [axis for axis in large if spacing[axis] / min(spacing[a] for a in large) < 2]
    if len(near) == 1 and edges[near[0]] < 3 * MIN_EDGE:
        return []
    return near


def first_patch(shape: Sequence[int], spacing: Sequence[float]) -> Topology:
    """nnU-Net's start: as many mm along every axis, 256³ voxels, clipped to ``shape``."""
    aspect = 1 / np.asarray(spacing, float)
    edges = np.round(aspect * (FIRST_PATCH / aspect.prod()) ** (1 / 3)).astype(int)
    return fit_topology(np.minimum(edges, shape).tolist(), spacing)


def shrink(topology: Topology, spacing: Sequence[float], shape: Sequence[int]) -> Topology | None:
    """One step down, nnU-Net's way: the axis that covers most of ``shape`` loses one multiple of the strides that the
    smaller size has.

    Returns:
        None where no axis may lose more.
    """
    patch = topology.patch_size
    for axis in sorted(range(3), key=lambda a: (patch[a] / shape[a], a), reverse=True):
        trial = _less(patch, axis, topology.divisor[axis])
        if trial[axis] < SMALLEST_PATCH:
            continue
        smaller = fit_topology(_less(patch, axis, fit_topology(trial, spacing).divisor[axis]), spacing)
        if prod(smaller.patch_size) < prod(patch):
            return smaller
    return None


def _less(size: Triple, axis: int, voxels: int) -> Triple:
    return tuple(n - voxels if a == axis else n for a, n in enumerate(size))
