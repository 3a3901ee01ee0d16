"""Sliding windows: where they lie, which may be left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from math import ceil, prod

import numpy as np
import torch
from monai.data.utils import compute_importance_map
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

SIGMA = 0.125  # of the window's size, nnU-Net's
AIR = 0.1  # of the way from a channel's minimum to its 99th percentile
BODY = 0.01  # fraction of a window's voxels above it that makes it worth a look
SAMPLE = 2**20


@dataclass(frozen=True)
class Window:
    """A window of the padded image, by its first voxel.

    Examples:
        >>> Window((0, 8, 8), (8, 16, 16)).meets(Window((4, 0, 0), (8, 16, 16)))
        True
    """

    start: tuple[int, int, int]
    size: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.size, strict=True))

    def meets(self, other: "Window") -> bool:
        return all(
            a < b + m and b < a + n for a, n, b, m in zip(self.start, self.size, other.start, other.size, strict=True)
        )


@dataclass(frozen=True)
class WindowGrid:
    """Windows over an image of ``shape``, all of one ``size``; neighbours overlap by ``overlap``, the last is flush
    with the end, as MONAI's are; or, ``like_nnunet``, by at least that and equally.

    Examples:
        >>> WindowGrid((18, 20, 20), (8, 16, 16), 0.5).starts(0)
        [0, 4, 8, 10]
        >>> WindowGrid((18, 20, 20), (8, 16, 16), 0.5, like_nnunet=True).starts(0)
        [0, 3, 7, 10]
    """

    shape: tuple[int, int, int]
    size: tuple[int, int, int]
    overlap: float
    like_nnunet: bool = False

    def starts(self, axis: int) -> list[int]:
        last = self.shape[axis] - self.size[axis]
        if self.like_nnunet:
            steps = ceil(last / (self.size[axis] * (1 - self.overlap)))
            return sorted({round(last / steps * number) for number in range(steps + 1)}) if steps else [0]
        step = max(1, int(self.size[axis] * (1 - self.overlap)))
        return sorted({min(start, last) for start in range(0, last + step, step)})

    def count(self) -> int:
        return prod(len(self.starts(axis)) for axis in range(3))

    def layers(self) -> Iterator[list[Window]]:
        """All windows of one z after the other."""
        for _, layer in groupby(product(*(self.starts(axis) for axis in range(3))), key=lambda start: start[0]):
            yield [Window(start, self.size) for start in layer]


def importance(size: Sequence[int], *, like_nnunet: bool = False) -> Tensor:
    """``[Z,Y,X]``: how much a voxel counts in its window, a Gaussian around the middle; nnU-Net's around n // 2."""
    if like_nnunet:
        return _nnunet_importance(size)
    return compute_importance_map(tuple(size), mode="gaussian", sigma_scale=SIGMA).float()


def _nnunet_importance(size: Sequence[int]) -> Tensor:
    axes = [gaussian_filter1d(np.eye(n)[n // 2], n * SIGMA, mode="constant") for n in size]
    weights = np.einsum("z,y,x->zyx", *axes)
    weights /= weights.max()
    return torch.from_numpy(np.where(weights == 0, weights[weights > 0].min(), weights)).float()


class BodyTest:
    """Whether a window of an image ``[M,z,y,x]`` holds more than air.

    Examples:
        >>> BodyTest(torch.zeros(1, 8, 16, 16))(Window((0, 0, 0), (8, 16, 16)))
        False
    """

    def __init__(self, image: Tensor) -> None:
        self.image = image
        self.bounds = [_air(channel) for channel in image]

    def __call__(self, window: Window) -> bool:
        return self.of_windows([window])[0]

    def of_windows(self, windows: Sequence[Window]) -> list[bool]:
        """Of each; waits for the image's device once."""
        fractions = [
            torch.stack([(channel[window.slices] > bound).float().mean() for window in windows])
            for channel, bound in zip(self.image, self.bounds, strict=True)
        ]
        return (torch.stack(fractions).amax(0) >= BODY).tolist()


def _air(channel: Tensor) -> float:
    sample = channel.reshape(-1)[:: max(1, channel.numel() // SAMPLE)]
    low = float(sample.min())
    return low + AIR * (float(torch.quantile(sample, 0.99)) - low)
