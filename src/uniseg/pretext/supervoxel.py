"""Supervoxels: of a scan cut into homogeneous regions, those of a few marked voxels are segmented."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from typing import ClassVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from uniseg.device_copy import to_device
from uniseg.errors import InputError
from uniseg.losses.deep_supervision import DeepSupervision
from uniseg.losses.dice_ce import DiceCELoss
from uniseg.pretext.base import Objective, PretextPatch, Reconstruction
from uniseg.settings import POSITIVE, STEPS, bounded, number
from uniseg.task import LARGEST_LABEL, Task

MOST_REGIONS = LARGEST_LABEL // 2  # that SLIC is asked for, which may give more
CANDIDATES = 8  # voxels of which the first in a region of its own is marked
NO_REGION = -2
SMALLEST_SPAN = 1e-3  # of intensities in a region that is not air

Candidates = tuple[tuple[tuple[float, float, float], ...], ...]  # per class, as fractions of the patch


@dataclass(frozen=True)
class Supervoxel(Objective):
    """Class k is the region of the k-th marked voxel; the rest is background.

    Which region is asked for stands in the image, as a cube of an intensity beyond the patch's own: above it for the
    first class, below for the second, twice as far for the next two. So the answer follows from what the network sees,
    and no class means anything but *what I point at*. Regions are made once, by SLIC of scikit-image, when the scan is
    prepared; those without any contrast, as air, are never asked for.

    Attributes:
        region_mm: edge of a cube of a region's mean volume.
        compactness: of SLIC: small follows intensities, large gives cubes.
        radius: of the cube that marks a voxel: 1 is 3x3x3.

    Examples:
        >>> from uniseg.task import Normalization
        >>> how, classes = (Normalization("zscore"),), ("background", "region")
        >>> task = Task("scans", ("CT",), classes, (1, 1, 1), how, kind="pretext", objective="supervoxel")
        >>> label = torch.ones(8, 8, 8, dtype=torch.int16)
        >>> objective, patch = Supervoxel(radius=0), PretextPatch(torch.rand(1, 8, 8, 8), label)
        >>> drawn = objective.draw(np.random.default_rng(0), task, (8, 8, 8))
        >>> marked = objective.apply(patch, drawn, task)
        >>> int((marked.image > 1).sum()), int(marked.label.sum())
        (1, 512)
    """

    group: ClassVar[str] = "pretext.supervoxel"
    labels_scans: ClassVar[bool] = True

    region_mm: float = field(default=20.0, metadata=bounded(POSITIVE))
    compactness: float = field(default=0.05, metadata=bounded(number(above=0, most=100)))
    radius: int = field(default=1, metadata=bounded(STEPS))

    def check(self, task: Task, patch_size: Sequence[int]) -> None:
        if task.num_classes < 2:
            found, fix = f"{task.num_classes} class", "classes: [background, region]"
            raise InputError(f"task '{task.name}'", found, "background and a class per marked voxel", fix)

    def label_of(self, image: np.ndarray, task: Task) -> np.ndarray:
        try:
            from skimage.segmentation import slic
        except ModuleNotFoundError as error:
            fix = "pip install 'uniseg[pretext]'"
            raise InputError(f"task '{task.name}'", "no scikit-image", "the package that makes regions", fix) from error
        volume_mm3 = image[0].size * prod(task.spacing_mm)
        count = min(max(round(volume_mm3 / self.region_mm**3), 2), MOST_REGIONS)
        how = {"n_segments": count, "compactness": self.compactness, "spacing": task.spacing_mm, "start_label": 1}
        regions = slic(image.astype(np.float32), channel_axis=0, **how)
        index = np.arange(1, int(regions.max()) + 1)
        spans = [ndimage.maximum(each, regions, index) - ndimage.minimum(each, regions, index) for each in image]
        has_contrast = (np.max(spans, axis=0) > SMALLEST_SPAN) & (index <= LARGEST_LABEL)
        kept = np.concatenate([[False], has_contrast])
        return np.where(kept[regions], regions, 0).astype(np.int16)

    def draw(self, rng: np.random.Generator, task: Task, patch_size: Sequence[int]) -> Candidates:
        """Voxels that may be marked, in their order, for each class."""
        places = rng.random((task.num_classes - 1, CANDIDATES, 3)).tolist()
        return tuple(tuple(tuple(place) for place in candidates) for candidates in places)

    def apply(self, patch: PretextPatch, drawn: Candidates, task: Task, partner: Tensor | None = None) -> PretextPatch:
        """Without a wait for the device: which candidate is taken is decided there."""
        image, regions, size = patch.image, patch.label, patch.label.shape
        voxels = to_device((np.array(drawn) * size).astype(np.int64), image.device)  # [K,C,3]
        z, y, x = voxels.unbind(-1)
        found = regions.flatten()[(z * size[1] + y) * size[2] + x]
        order = torch.arange(CANDIDATES, 0, -1, device=image.device)
        low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
        marked, target = image, torch.zeros_like(regions)
        chosen: list[Tensor] = []
        for k, candidates in enumerate(found, start=1):
            is_free = candidates > 0
            for region in chosen:
                is_free &= candidates != region
            first = (is_free * order).argmax()
            region = torch.where(is_free.any(), candidates[first], NO_REGION)
            chosen.append(region)
            target = target.masked_fill(regions == region, k)
            steps = ceil(k / 2) * (high - low)
            mark = high + steps if k % 2 else low - steps
            is_marked = self._cube(voxels[k - 1, first], size) & (region != NO_REGION)
            marked = torch.where(is_marked, mark, marked)
        return PretextPatch(marked, target)

    def _cube(self, centre: Tensor, size: Sequence[int]) -> Tensor:
        """``[Z,Y,X]``: which voxels are at most ``radius`` from ``centre [3]`` along every axis."""
        axes = [torch.arange(n, device=centre.device) for n in size]
        near = [(axis - place).abs() <= self.radius for axis, place in zip(axes, centre, strict=True)]
        return near[0][:, None, None] & near[1][:, None] & near[2]

    def loss(
        self, logits: Sequence[Tensor], label: Tensor, reconstruction: Reconstruction | None, tasks: Sequence[Task]
    ) -> Tensor:
        return DeepSupervision(DiceCELoss(dice_weight=1, ce_weight=1))(logits, label, tasks)
