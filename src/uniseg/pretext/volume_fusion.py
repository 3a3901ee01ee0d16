"""Volume fusion (Wang et al., MIS-FM): two patches are mixed in boxes, the weight of the mixture is segmented."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from uniseg.device_copy import to_device
from uniseg.errors import InputError
from uniseg.losses.deep_supervision import DeepSupervision
from uniseg.losses.dice_ce import DiceCELoss
from uniseg.pretext.base import Objective, PretextPatch, Reconstruction
from uniseg.settings import COUNT, bounded, sequence
from uniseg.task import Task

Box = tuple[int, ...]  # start and stop along z, y, x, level


@dataclass(frozen=True)
class VolumeFusion(Objective):
    """Every voxel is ``level / K`` of a patch and the rest of another; the K+1 levels are the task's classes.

    Level 0 outside the boxes; a later box replaces what it covers of an earlier. A segmentation, so that encoder,
    decoder and every scale learn: Dice and cross-entropy as of nnU-Net.

    Attributes:
        boxes: fewest and most boxes of a patch.
        size: shortest and longest side of a box in voxels; never longer than the patch.

    Examples:
        >>> from uniseg.task import Normalization
        >>> how, levels = (Normalization("zscore"),), ("level_0", "level_1", "level_2")
        >>> task = Task("scans", ("CT",), levels, (1, 1, 1), how, kind="pretext", objective="volume_fusion")
        >>> objective, scan = VolumeFusion(), torch.ones(1, 32, 32, 32)
        >>> drawn = objective.draw(np.random.default_rng(0), task, (32, 32, 32))
        >>> patch = PretextPatch(scan, torch.zeros(32, 32, 32, dtype=torch.int16))
        >>> objective.apply(patch, drawn, task, torch.zeros_like(scan)).image.unique()
        tensor([0.0000, 0.5000, 1.0000])
    """

    group: ClassVar[str] = "pretext.volume_fusion"
    needs_partner: ClassVar[bool] = True

    boxes: tuple[int, int] = field(default=(10, 40), metadata=bounded(sequence(COUNT, length=2, ascending=True)))
    size: tuple[int, int] = field(default=(8, 40), metadata=bounded(sequence(COUNT, length=2, ascending=True)))

    def check(self, task: Task, patch_size: Sequence[int]) -> None:
        if task.num_classes < 2:
            found, fix = f"{task.num_classes} class", "classes: [level_0, level_1, level_2, level_3, level_4]"
            raise InputError(f"task '{task.name}'", found, "two or more, the levels of the mixture", fix)

    def draw(self, rng: np.random.Generator, task: Task, patch_size: Sequence[int]) -> tuple[Box, ...]:
        boxes = []
        for _ in range(rng.integers(self.boxes[0], self.boxes[1] + 1)):
            corners: list[int] = []
            for length in patch_size:
                side = min(int(rng.integers(self.size[0], self.size[1] + 1)), length)
                start = int(rng.integers(length - side + 1))
                corners += [start, start + side]
            boxes.append((*corners, int(rng.integers(task.num_classes))))
        return tuple(boxes)

    def apply(self, patch: PretextPatch, drawn: Sequence[Box], task: Task, partner: Tensor | None) -> PretextPatch:
        assert partner is not None
        levels = np.zeros(patch.image.shape[1:], np.int16)
        for z0, z1, y0, y1, x0, x1, level in drawn:
            levels[z0:z1, y0:y1, x0:x1] = level
        label = to_device(levels, patch.image.device)
        return PretextPatch(torch.lerp(partner, patch.image, label / (task.num_classes - 1)), label)

    def loss(
        self, logits: Sequence[Tensor], label: Tensor, reconstruction: Reconstruction | None, tasks: Sequence[Task]
    ) -> Tensor:
        return DeepSupervision(DiceCELoss(dice_weight=1, ce_weight=1))(logits, label, tasks)
