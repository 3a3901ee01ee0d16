"""Back to the scan's grid: scores at the task's spacing -> label map."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from uniseg.prepare.preprocess import Box
from uniseg.scans.resample import axis_orders, resample

SLAB_VOXELS = 2**24  # of one class's float map, held at a time


def restore(scores: Tensor, box: Box, shape: Sequence[int], spacing_mm: Sequence[float], task_spacing_mm: Sequence[float]) -> np.ndarray:
    """``scores [V,z,y,x]`` of the cropped scan -> label values ``[Z,Y,X]`` uint8 or int16 of the whole scan, slab by slab.

    Linear; nearest along a coarse axis. Outside ``box`` all is background.
    """
    inside = [stop - start for start, stop in box]
    orders = axis_orders(1, spacing_mm, task_spacing_mm)
    label = np.zeros(shape, np.uint8 if len(scores) <= 256 else np.int16)
    region = label[tuple(slice(*side) for side in box)]
    planes = max(1, SLAB_VOXELS // (len(scores) * inside[1] * inside[2]))
    for start in range(0, inside[0], planes):
        slab = resample(scores, inside, orders, start, min(start + planes, inside[0]))
        region[start : start + planes] = torch.argmax(slab, dim=0).cpu().numpy()
    return label
