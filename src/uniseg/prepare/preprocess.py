"""One case: crop to the non-zero box, normalise, resample."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from uniseg.scans.normalize import normalize
from uniseg.scans.resample import resample_image
from uniseg.scans.volume import Volume
from uniseg.task import Task

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Prepared:
    """Network input of one scan with what it takes to go back.

    Attributes:
        image: ``[M,z,y,x]`` float32 at the task's spacing.
        box: (start, stop) per axis of the crop in the scan's canonical grid.
    """

    image: np.ndarray
    box: Box


def preprocess(volume: Volume, task: Task) -> Prepared:
    """Crop to voxels that are non-zero in some modality, normalise, resample to ``task.spacing_mm``.

    Holes of the body count as body where a modality is normalised inside it, as in nnU-Net.
    """
    body = (volume.array != 0).any(0)
    box = nonzero_box(body)
    body = crop(body, box)
    if any(how.masked for how in task.normalization):
        body = ndimage.binary_fill_holes(body)
    image = normalize(crop(volume.array, box), task.normalization, body, volume.present)
    return Prepared(resample_image(image, volume.spacing_mm, task.spacing_mm), box)


def nonzero_box(body: np.ndarray) -> Box:
    """The smallest box that holds every True of ``[Z,Y,X]``; the whole scan where there is none."""
    box = []
    for axis, size in enumerate(body.shape):
        used = np.flatnonzero(body.any(tuple(a for a in range(3) if a != axis)))
        box.append((int(used[0]), int(used[-1]) + 1) if used.size else (0, size))
    return tuple(box)


def crop(array: np.ndarray, box: Box) -> np.ndarray:
    """``[...,Z,Y,X]`` inside ``box``."""
    return array[(..., *(slice(*side) for side in box))]
