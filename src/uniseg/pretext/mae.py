"""Masked auto-encoding: most blocks of a patch are hidden, their voxels are given back (nnssl's recipe)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from uniseg.device_copy import to_device
from uniseg.errors import InputError
from uniseg.pretext.base import Objective, PretextPatch, Reconstruction
from uniseg.settings import bounded, number, sequence
from uniseg.task import IGNORE, Task


@dataclass(frozen=True)
class MaskedAutoencoding(Objective):
    """Aligned blocks are set to 0, in all channels at the same place; mean squared error on hidden voxels alone.

    Without intensity transforms, as in nnssl. A channel that is constant over the patch, as air is or a modality that
    the case lacks, counts nowhere: there is nothing to learn of it.

    Attributes:
        block: size of a block in voxels, (z, y, x); blocks begin at the patch's corner.
        ratio: fraction of the blocks that is hidden, to the nearest whole number of blocks.

    Examples:
        >>> from uniseg.task import Normalization
        >>> how = (Normalization("zscore"),)
        >>> task = Task("scans", ("CT",), ("CT",), (1, 1, 1), how, kind="pretext", objective="mae")
        >>> objective = MaskedAutoencoding(block=(8, 8, 8))
        >>> hidden = objective.draw(np.random.default_rng(0), task, (32, 32, 32))
        >>> patch = PretextPatch(torch.randn(1, 32, 32, 32), torch.zeros(32, 32, 32))
        >>> objective.apply(patch, hidden, task).counted.sum()
        tensor(24576)
    """

    group: ClassVar[str] = "pretext.mae"
    augments_intensity: ClassVar[bool] = False

    block: tuple[int, int, int] = field(
        default=(16, 16, 16), metadata=bounded(sequence(number(least=1, most=256, whole=True), length=3))
    )
    ratio: float = field(default=0.75, metadata=bounded(number(above=0, below=1)))

    def check(self, task: Task, patch_size: Sequence[int]) -> None:
        if task.num_classes != task.num_modalities:
            found = f"{task.num_classes} classes for {task.num_modalities} modalities"
            fix = f"classes: [{', '.join(task.modalities)}]"
            raise InputError(f"task '{task.name}'", found, "one per modality, which the head gives back", fix)
        if any(size % block for size, block in zip(patch_size, self.block, strict=True)) or not self._hidden(
            patch_size
        ):
            found = f"{list(self.block)} for a patch of {list(patch_size)}"
            expected = "blocks that fill the patch, of which some are hidden and some are not"
            raise InputError(f"{self.group}.block", found, expected, "choose other blocks, or another data.patch_size")

    def _hidden(self, patch_size: Sequence[int]) -> int:
        """How many blocks; 0 where that would be all."""
        total = int(np.prod(self._grid(patch_size)))
        number = round(total * self.ratio)
        return number if number < total else 0

    def _grid(self, patch_size: Sequence[int]) -> tuple[int, ...]:
        return tuple(size // block for size, block in zip(patch_size, self.block, strict=True))

    def draw(self, rng: np.random.Generator, task: Task, patch_size: Sequence[int]) -> bytes:
        """One bit per block, in C order: whether it is hidden."""
        hidden = np.zeros(int(np.prod(self._grid(patch_size))), bool)
        hidden[rng.permutation(len(hidden))[: self._hidden(patch_size)]] = True
        return np.packbits(hidden).tobytes()

    def mask(self, drawn: bytes, patch_size: Sequence[int]) -> np.ndarray:
        """``[Z,Y,X]``: which voxels are hidden."""
        grid = self._grid(patch_size)
        bits = np.unpackbits(np.frombuffer(drawn, np.uint8), count=int(np.prod(grid)))
        return np.kron(bits.reshape(grid), np.ones(self.block, np.uint8)).astype(bool)

    def apply(self, patch: PretextPatch, drawn: bytes, task: Task, partner: Tensor | None = None) -> PretextPatch:
        hidden = to_device(self.mask(drawn, patch.image.shape[1:]), patch.image.device)
        varies = patch.image.amax((1, 2, 3), keepdim=True) > patch.image.amin((1, 2, 3), keepdim=True)
        seen = patch.image.masked_fill(hidden, 0)
        return PretextPatch(seen, torch.full_like(patch.label, IGNORE), patch.image.clone(), hidden & varies)

    def loss(
        self, logits: Sequence[Tensor], label: Tensor, reconstruction: Reconstruction | None, tasks: Sequence[Task]
    ) -> Tensor:
        """At full resolution alone."""
        assert reconstruction is not None
        target, counted = reconstruction.target, reconstruction.counted
        errors = (logits[0][:, : target.shape[1]].float() - target).where(
            counted, 0
        )  # before the square: -inf in padding
        return errors.square().flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1)
