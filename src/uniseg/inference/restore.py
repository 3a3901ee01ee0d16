"""Back to the scan's grid: scores at the task's spacing -> label map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uniseg.prepare.preprocess import Box
from uniseg.scans.resample import axis_orders, resample

SLAB_VOXELS = 2**24  # of one class's float map, held at a time
SURE = 255


@dataclass(frozen=True)
class Restored:
    """A segmentation in the scan's grid.

    Attributes:
        label: label values ``[Z,Y,X]`` uint8 or int16.
        confidence: their probability (softmax over the label values) times 255, uint8; None where it was not asked.
    """

    label: np.ndarray
    confidence: np.ndarray | None


def restore(
    scores: Tensor, box: Box, shape: Sequence[int], spacing_mm: Sequence[float], task_spacing_mm: Sequence[float], *, confident: bool = False
) -> Restored:
    """``scores [V,z,y,x]`` of the cropped scan -> the label map of the whole scan, slab by slab.

    Linear; nearest along a coarse axis. Outside ``box`` all is background, surely.
    """
    inside = [stop - start for start, stop in box]
    orders = axis_orders(1, spacing_mm, task_spacing_mm)
    label = np.zeros(shape, np.uint8 if len(scores) <= 256 else np.int16)
    confidence = np.full(shape, SURE, np.uint8) if confident else None
    within = tuple(slice(*side) for side in box)
    planes = max(1, SLAB_VOXELS // (len(scores) * inside[1] * inside[2]))
    for start in range(0, inside[0], planes):
        slab = resample(scores, inside, orders, start, min(start + planes, inside[0]))
        label[within][start : start + planes] = torch.argmax(slab, dim=0).cpu().numpy()
        if confidence is not None:
            probability = (slab.amax(0) - slab.logsumexp(0)).exp()
            confidence[within][start : start + planes] = (probability * SURE).round().to(torch.uint8).cpu().numpy()
    return Restored(label, confidence)
