"""What workers return, what the network gets."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from uniseg.errors import InputError
from uniseg.pretext.base import Reconstruction
from uniseg.sampling.requests import PatchRequest

MORE_SHARED_MEMORY = "start the container with --shm-size=8g, or lower data.num_workers"
ALIGNED = 64  # bytes, at whose multiples tensors of one block begin


@dataclass(frozen=True)
class Padding:
    """Where what was read of a box lies in the whole of it; the rest is outside the case.

    Attributes:
        shape: of the whole box, (z, y, x).
        start: of what was read.
        label: of voxels outside the case; their image is 0.

    Examples:
        >>> Padding((8, 8, 8), (0, 2, 2), label=0).start
        (0, 2, 2)
    """

    shape: tuple[int, ...]
    start: tuple[int, ...]
    label: int


@dataclass(frozen=True)
class RawBatch:
    """Ragged boxes of voxels with the requests that they answer.

    Attributes:
        images: per sample ``[M,z,y,x]``, as the cache holds them: float16.
        labels: per sample ``[z,y,x]``, as the cache holds them: int8 or int16.
        requests: in the same order; the boxes of their partners come after those of all requests, in their order.
        paddings: in the order of the images; None where the box lies inside the case. Empty: all do.

    Examples:
        >>> raw = RawBatch([torch.zeros(1, 8, 8, 8)], [torch.zeros(8, 8, 8)], requests=[None])
        >>> [(image.dtype, label.dtype) for image, label in raw.boxes()]
        [(torch.float32, torch.int16)]
    """

    images: list[Tensor]
    labels: list[Tensor]
    requests: list[PatchRequest]
    paddings: list[Padding | None] = field(default_factory=list)

    def boxes(self) -> list[tuple[Tensor, Tensor]]:
        """Per sample the whole box, ``[M,z,y,x]`` float32, and its label ``[z,y,x]`` int16, where they lie."""
        paddings = self.paddings or [None] * len(self.images)
        return [_whole(*parts) for parts in zip(self.images, self.labels, paddings, strict=True)]

    def to(self, device: torch.device, non_blocking: bool = False) -> "RawBatch":
        move = [[t.to(device, non_blocking=non_blocking) for t in tensors] for tensors in (self.images, self.labels)]
        return replace(self, images=move[0], labels=move[1])

    def pin_memory(self) -> "RawBatch":
        return replace(self, images=[t.pin_memory() for t in self.images], labels=[t.pin_memory() for t in self.labels])

    def shared(self) -> "RawBatch":
        """The same in one block of shared memory.

        Raises:
            InputError: it has no room for it.
        """
        try:
            tensors = _unpacked(*_packed([*self.images, *self.labels]))
        except RuntimeError as error:
            found, expected = " ".join(str(error).split())[:150], "shared memory for what readers hand over"
            raise InputError("data.num_workers", found, expected, MORE_SHARED_MEMORY) from error
        return replace(self, images=tensors[: len(self.images)], labels=tensors[len(self.images) :])

    def __getstate__(self) -> dict[str, Any]:
        """On its way out of a reader process: one block of shared memory, one file handle, however many samples."""
        block, layout = _packed([*self.images, *self.labels])
        return {**self.__dict__, "images": block, "labels": layout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        tensors = _unpacked(state["images"], state["labels"])
        half = len(tensors) // 2
        self.__dict__.update(state, images=tensors[:half], labels=tensors[half:])


def _packed(tensors: Sequence[Tensor]) -> tuple[Tensor, list[tuple[int, torch.dtype, torch.Size]]]:
    """All in one block of bytes, with where each begins, its type and shape; what ``shared`` made is taken as it is."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage() for tensor in tensors}
    if len(storages) == 1 and (storage := next(iter(storages.values()))).is_shared():
        layout = [(tensor.storage_offset() * tensor.itemsize, tensor.dtype, tensor.shape) for tensor in tensors]
        return torch.empty(0, dtype=torch.uint8).set_(storage), layout
    starts = [0, *accumulate(-(-tensor.nbytes // ALIGNED) * ALIGNED for tensor in tensors)]
    block = torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage._new_shared(max(starts[-1], 1)))
    layout = [(start, tensor.dtype, tensor.shape) for start, tensor in zip(starts, tensors, strict=False)]
    for view, tensor in zip(_unpacked(block, layout), tensors, strict=True):
        view.copy_(tensor)
    return block, layout


def _unpacked(block: Tensor, layout: Sequence[tuple[int, torch.dtype, torch.Size]]) -> list[Tensor]:
    return [
        block[start : start + shape.numel() * dtype.itemsize].view(dtype).view(shape) for start, dtype, shape in layout
    ]


def _whole(image: Tensor, label: Tensor, padding: Padding | None) -> tuple[Tensor, Tensor]:
    if padding is None:
        return image.float(), label.to(torch.int16)
    inside = tuple(slice(a, a + n) for a, n in zip(padding.start, label.shape, strict=True))
    whole_image = image.new_zeros((len(image), *padding.shape), dtype=torch.float32)
    whole_label = label.new_full(padding.shape, padding.label, dtype=torch.int16)
    whole_image[(slice(None), *inside)].copy_(image)
    whole_label[inside].copy_(label)
    return whole_image, whole_label


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
        reconstruction: what samples of pretext tasks are to give in values; None where there are none.
        loss_weight: ``[B]`` float32; None: 1 for all.

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
    reconstruction: Reconstruction | None = None
    loss_weight: Tensor | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        return replace(
            self,
            image=self.image.to(device, non_blocking=non_blocking),
            label=self.label.to(device, non_blocking=non_blocking),
            reconstruction=self.reconstruction and self.reconstruction.to(device, non_blocking=non_blocking),
        )

    @property
    def values(self) -> tuple[Reconstruction, ...]:
        """What a loss reads beside the labels."""
        return () if self.reconstruction is None else (self.reconstruction,)

    def tensors(self) -> list[Tensor]:
        """All that lie on the device."""
        weights = [] if self.loss_weight is None else [self.loss_weight]
        return [
            self.image,
            self.label,
            *weights,
            *(part for each in self.values for part in (each.target, each.counted)),
        ]

    def pin_memory(self) -> "Batch":
        return replace(self, image=self.image.pin_memory(), label=self.label.pin_memory())
