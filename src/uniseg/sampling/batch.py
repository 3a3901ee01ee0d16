"""What workers return, what the network gets."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uniseg.sampling.requests import PatchRequest


@dataclass(frozen=True)
class RawBatch:
    """Ragged boxes of voxels with the requests that they answer.

    Attributes:
        images: per sample ``[M,z,y,x]`` float32.
        labels: per sample ``[z,y,x]`` int16.
        requests: in the same order.

    Examples:
        >>> len(RawBatch([torch.zeros(1, 8, 8, 8)], [torch.zeros(8, 8, 8)], requests=[None]).images)
        1
    """

    images: list[Tensor]
    labels: list[Tensor]
    requests: list[PatchRequest]

    def to(self, device: torch.device, non_blocking: bool = False) -> "RawBatch":
        move = [[t.to(device, non_blocking=non_blocking) for t in tensors] for tensors in (self.images, self.labels)]
        return replace(self, images=move[0], labels=move[1])

    def pin_memory(self) -> "RawBatch":
        return replace(self, images=[t.pin_memory() for t in self.images], labels=[t.pin_memory() for t in self.labels])


@dataclass(frozen=True)
class ReadFailure:
    """What a reader returns in place of a batch.

    torch cannot bring such errors over from the reader's process: it makes new ones from a text.

    Examples:
        >>> ReadFailure(OSError(5, "Input/output error")).error.errno
        5
    """

    error: Exception


@dataclass(frozen=True)
class Batch:
    """Patches on the device; tasks and channel counts mix.

    Attributes:
        image: ``[B,M,Z,Y,X]``, M = widest in the batch, zero-padded.
        label: ``[B,Z,Y,X]`` int16, -1 = ignore.
        task: ``[B]`` int64 on the CPU: indices in the TaskSet.
        case_ids: B names.
        step: of the run.

    Examples:
        >>> batch = Batch(torch.zeros(1, 1, 8, 8, 8), torch.zeros(1, 8, 8, 8), torch.tensor([0]), ["case_3"], step=7)
        >>> batch.to("cpu").case_ids
        ['case_3']
    """

    image: Tensor
    label: Tensor
    task: Tensor
    case_ids: list[str]
    step: int

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        return replace(
            self,
            image=self.image.to(device, non_blocking=non_blocking),
            label=self.label.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> "Batch":
        return replace(self, image=self.image.pin_memory(), label=self.label.pin_memory())
