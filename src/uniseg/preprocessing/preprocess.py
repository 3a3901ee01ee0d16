"""One case: crop to the non-zero box, normalise, resample."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from uniseg.errors import InputError
from uniseg.images.volume import Volume
from uniseg.normalization.base import Normalization
from uniseg.preprocessing.resample import resample_image, resample_tensor
from uniseg.task import Task

MOST_VOXELS = 4_000_000_000  # of all modalities of one scan: 16 GB
LONGEST_AXIS = 32_767  # remembered voxels are int16

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Prepared:
    """Network input of one scan with what it takes to go back.

    Attributes:
        image: ``[M,z,y,x]`` float32 at the task's spacing.
        box: (start, stop) per axis of the crop in the scan's canonical grid.

    Examples:
        >>> Prepared(np.zeros((1, 2, 3, 4), np.float32), ((0, 2), (0, 3), (1, 5))).box[2]
        (1, 5)
    """

    image: np.ndarray
    box: Box


def preprocess(volume: Volume, task: Task) -> Prepared:
    """Crop to voxels that are non-zero in some modality, normalise, resample to ``task.spacing_mm``.

    Holes of the body count as body where a modality is normalised inside it, as in nnU-Net.

    Raises:
        InputError: as ``require_extent``.
    """
    array, box = _normalized_crop(volume, task)
    return Prepared(resample_image(array, volume.spacing_mm, task.spacing_mm), box)


def preprocess_on(volume: Volume, task: Task, device: torch.device) -> Tensor:
    """The image of ``preprocess`` as a tensor ``[M,z,y,x]`` on a device, which resamples it where its memory allows.

    Raises:
        InputError: as ``require_extent``.
    """
    if device.type == "cpu":
        return torch.from_numpy(preprocess(volume, task).image)
    array, _ = _normalized_crop(volume, task)
    try:
        return resample_tensor(torch.from_numpy(array).to(device), volume.spacing_mm, task.spacing_mm)
    except torch.OutOfMemoryError:
        pass
    return torch.from_numpy(resample_image(array, volume.spacing_mm, task.spacing_mm)).to(device)


def _normalized_crop(volume: Volume, task: Task) -> tuple[np.ndarray, Box]:
    body = (volume.array != 0).any(0)
    box = nonzero_box(body)
    extent_mm = [(stop - start) * mm for (start, stop), mm in zip(box, volume.spacing_mm, strict=True)]
    require_extent(f"task '{task.name}'", extent_mm, task)
    body = crop(body, box)
    if any(how.masked for how in task.normalization):
        body = ndimage.binary_fill_holes(body)
    return normalize(crop(volume.array, box), task.normalization, body, volume.present), box


def normalize(
    array: np.ndarray, normalization: Sequence[Normalization], body: np.ndarray, present: Sequence[bool]
) -> np.ndarray:
    """``[M,Z,Y,X]`` -> the same in float32; a modality that is not ``present`` is 0.

    Args:
        body: ``[Z,Y,X]``, the voxels that are not air around; used where ``masked``.
    """
    out = np.zeros(array.shape, np.float32)
    for values, channel, how, is_present in zip(out, array, normalization, present, strict=True):
        if is_present:
            values[...] = channel
            assert how.resolved, "preparation resolves every normalisation"
            how.apply(values, body)
    return out


def require_extent(where: object, extent_mm: Sequence[float], task: Task) -> None:
    """Refuse a scan that cannot be held at the task's spacing.

    Raises:
        InputError: more than 4e9 voxels over all modalities, or more than 32,767 along an axis.
    """
    shape = [mm / spacing for mm, spacing in zip(extent_mm, task.spacing_mm, strict=True)]
    number = task.num_modalities * prod(shape)
    if number > MOST_VOXELS or max(shape) > LONGEST_AXIS:
        extent, spacing = (" x ".join(f"{mm:.4g}" for mm in values) for values in (extent_mm, task.spacing_mm))
        found = f"{number:.2g} voxels for {extent} mm at the task's spacing {spacing} mm"
        expected = f"at most {MOST_VOXELS:.0e}, and {LONGEST_AXIS} along an axis"
        raise InputError(where, found, expected, "repair the scan's spacing, or correct spacing_mm")


def nonzero_box(body: np.ndarray) -> Box:
    """The smallest box that holds every True of ``[Z,Y,X]``; the whole scan where there is none."""
    box = []
    for axis, size in enumerate(body.shape):
        used = np.flatnonzero(body.any(tuple(a for a in range(3) if a != axis)))
        box.append((int(used[0]), int(used[-1]) + 1) if used.size else (0, size))
    return tuple(box)


def crop(array: np.ndarray, box: Box) -> np.ndarray:
    """``[...,Z,Y,X]`` inside ``box``."""
    return array[(..., *(slice(*limits) for limits in box))]
