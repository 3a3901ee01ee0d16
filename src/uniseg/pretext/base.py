"""What an objective is: drawn in the request as plain numbers, applied on the device after augmentation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from uniseg.device_copy import take_rows
from uniseg.settings import check_fields
from uniseg.task import Task


@dataclass(frozen=True)
class PretextPatch:
    """One sample of a pretext task.

    Attributes:
        image: ``[M,Z,Y,X]``: what was read and augmented, or what the network sees.
        label: ``[Z,Y,X]`` int16, the class of every voxel, -1 where a voxel does not count.
        target: ``[M,Z,Y,X]``, values to be given by the head; None where classes are.
        counted: ``[M,Z,Y,X]``, where ``target`` counts.

    Examples:
        >>> import torch
        >>> PretextPatch(torch.zeros(1, 8, 8, 8), torch.zeros(8, 8, 8, dtype=torch.int16)).target is None
        True
    """

    image: Tensor
    label: Tensor
    target: Tensor | None = None
    counted: Tensor | None = None


@dataclass(frozen=True)
class Reconstruction:
    """What the heads of some samples of a batch are to give, in values.

    Attributes:
        rows: which samples.
        target: ``[b,M,Z,Y,X]``, M the widest among them.
        counted: the same shape, where the target counts.

    Examples:
        >>> import torch
        >>> both = Reconstruction((1, 3), torch.zeros(2, 1, 8, 8, 8), torch.ones(2, 1, 8, 8, 8, dtype=torch.bool))
        >>> both.of_samples([3]).target.shape
        torch.Size([1, 1, 8, 8, 8])
    """

    rows: tuple[int, ...]
    target: Tensor
    counted: Tensor

    @classmethod
    def stack(cls, patches: Mapping[int, PretextPatch]) -> "Reconstruction | None":
        """Of the patches that have a target, by their place in the batch; None where none has."""
        chosen = {row: (each.target, each.counted) for row, each in patches.items() if each.target is not None}
        if not chosen:
            return None
        widest = max(len(target) for target, _ in chosen.values())
        target, counted = (
            torch.stack(
                [F.pad(pair[part], (0, 0, 0, 0, 0, 0, 0, widest - len(pair[part]))) for pair in chosen.values()]
            )
            for part in (0, 1)
        )
        return cls(tuple(chosen), target, counted)

    def of_samples(self, rows: Sequence[int]) -> "Reconstruction":
        """Of the samples ``rows`` of the batch."""
        places = [self.rows.index(row) for row in rows]
        return Reconstruction(tuple(rows), take_rows(self.target, places), take_rows(self.counted, places))

    def to(self, device: torch.device, non_blocking: bool = False) -> "Reconstruction":
        move = [each.to(device, non_blocking=non_blocking) for each in (self.target, self.counted)]
        return Reconstruction(self.rows, *move)


@dataclass(frozen=True)
class Objective(ABC):
    """A frozen dataclass whose fields are its settings in its YAML, each with default and bound.

    Attributes:
        group: key of the block that holds its settings, for messages.
        needs_partner: whether a sample is made of two patches, the second of any case of the task.
        augments_intensity: whether its samples get the intensity transforms of the recipe too.
        labels_scans: whether ``label_of`` gives a label, which the cache then keeps.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> from uniseg.pretext.mae import MaskedAutoencoding
        >>> MaskedAutoencoding(ratio=0.6).group
        'pretext.mae'
    """

    group: ClassVar[str] = "pretext"
    needs_partner: ClassVar[bool] = False
    augments_intensity: ClassVar[bool] = True
    labels_scans: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def check(self, task: Task, patch_size: Sequence[int]) -> None:
        """Whether the task's classes are what the objective's head gives, and the patch is one it can be applied to.

        Raises:
            InputError: names what does not fit.
        """

    def label_of(self, image: np.ndarray, task: Task) -> np.ndarray:
        """The label of a prepared scan ``[M,Z,Y,X]``, made once: ``[Z,Y,X]`` int16; 0 where none is needed."""
        return np.zeros(image.shape[1:], np.int16)

    @abstractmethod
    def draw(self, rng: np.random.Generator, task: Task, patch_size: Sequence[int]) -> Any:
        """The random numbers of one sample, plain: the same request always means the same sample."""

    @abstractmethod
    def apply(self, patch: PretextPatch, drawn: Any, task: Task, partner: Tensor | None) -> PretextPatch:
        """The network's input, the target and the voxels that count, of an augmented patch, on its device.

        Args:
            patch: with the label of ``label_of``.
            drawn: what ``draw`` returned.
            partner: ``[M,Z,Y,X]``, the second patch, where one is needed.
        """

    @abstractmethod
    def loss(
        self, logits: Sequence[Tensor], label: Tensor, reconstruction: Reconstruction | None, tasks: Sequence[Task]
    ) -> Tensor:
        """Of its own samples alone -> ``[b]``.

        Args:
            logits: finest first, each ``[b,K,...]``, with -inf in the rows of padding.
            label: ``[b,Z,Y,X]``.
            reconstruction: where ``apply`` gives targets.
        """
