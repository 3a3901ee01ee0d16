"""The sums over voxels that Dice and cross-entropy are made of, by Triton kernels: one pass over the logits forward,
one backward, and no volume per class.
"""

import logging
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from uniseg.device_copy import to_device
from uniseg.task import Task

log = logging.getLogger(__name__)
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
HAS_TRITON = find_spec("triton") is not None
TILE = 2048  # elements
WARPS = 4
PROGRAMS = 1024  # that sum at a time


def can_fuse(logits: Tensor) -> bool:
    """Whether the kernels compute these logits."""
    return HAS_TRITON and logits.is_cuda and logits.dtype in DTYPES and _kernels_work(logits.device)


@cache
def _kernels_work(device: torch.device) -> bool:
    """Whether a kernel can be made and started, which takes a C compiler and a GPU that Triton knows."""
    logits = torch.zeros(1, 2, 2, 2, 2, device=device)
    label, counts = (torch.full(size, 1, device=device, dtype=torch.int32) for size in ((1, 2, 2, 2), (1,)))
    try:
        _ClassSums.apply(logits, label, counts, None)
    except Exception as error:  # whatever a compiler says
        log.info("the loss without its kernels: %s", str(error).splitlines()[:1])
        return False
    return True


def class_sums(logits: Tensor, label: Tensor, tasks: Sequence[Task]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of the voxels that are not ignored: overlap, probability and truth of the foreground ``[B,K-1]``, cross-entropy
    and number of voxels ``[B]``, in float32; 0 for classes that a sample's task does not have.

    Args:
        logits: ``[B,K,Z,Y,X]``.
        label: ``[B,Z,Y,X]``, label values.
        tasks: of the samples, either all with regions or none.
    """
    K = logits.shape[1]
    width = 1 << (K - 1).bit_length()
    counts = to_device([task.num_classes for task in tasks], logits.device, torch.int32)
    table = to_device(_table(tasks, width), logits.device) if tasks[0].regions else None
    sums = _ClassSums.apply(logits, label, counts, table)
    overlap, predicted, truth = sums[:, :3, 1:K].unbind(1)
    return overlap, predicted, truth, sums[:, 3, 0], sums[:, 3, 1]


def _table(tasks: Sequence[Task], width: int) -> Tensor:
    """``[B,V,width]``: 1 where the label value belongs to the region."""
    num_values = max(len(task.membership) for task in tasks)
    table = torch.zeros(len(tasks), num_values, width)
    for rows, task in zip(table, tasks, strict=True):
        rows[: len(task.membership), 1 : task.num_classes] = torch.tensor(task.membership)
    return table


class _ClassSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, label: Tensor, counts: Tensor, table: Tensor | None) -> Tensor:
        """``[B,4,KP]``, the rows as ``chunk_sums`` writes them."""
        from uniseg.losses import class_sums_kernels as kernels

        if not logits.is_contiguous(memory_format=torch.channels_last_3d):
            logits = logits.contiguous()
        label = label.contiguous()
        ctx.save_for_backward(logits, label, counts, table)
        sizes, tile = _sizes(logits, table)
        tiles = -(-sizes[0] // tile["BS"])
        steps = -(-tiles // max(1, PROGRAMS // len(logits)))
        chunks = -(-tiles // steps)
        out = torch.empty(len(logits), chunks, 4, tile["KP"], device=logits.device, dtype=torch.float32)
        with torch.cuda.device_of(logits):
            kernels.chunk_sums[(chunks, len(logits))](
                logits, label, label if table is None else table, counts, out, *sizes, chunks, steps=steps, **tile
            )
        return out.sum(1)

    @staticmethod
    def backward(ctx: Any, dsums: Tensor) -> tuple[Tensor, None, None, None]:
        from uniseg.losses import class_sums_kernels as kernels

        logits, label, counts, table = ctx.saved_tensors
        sizes, tile = _sizes(logits, table)
        dlogits = torch.empty_like(logits)
        with torch.cuda.device_of(logits):
            kernels.gradient[(-(-sizes[0] // tile["BS"]), len(logits))](
                logits, label, label if table is None else table, counts, dsums.contiguous(), dlogits, *sizes, **tile
            )
        return dlogits, None, None, None


def _sizes(logits: Tensor, table: Tensor | None) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Arguments of both kernels: voxels, label values, classes, strides; the tile."""
    K, S = logits.shape[1], logits.shape[2:].numel()
    is_last = logits.is_contiguous(memory_format=torch.channels_last_3d)
    width = 1 << (K - 1).bit_length()
    num_values = 0 if table is None else table.shape[1]
    tile = {"REGIONS": table is not None, "BS": max(16, TILE // width), "KP": width, "num_warps": WARPS}
    return (S, num_values, K, *((K, 1) if is_last else (1, S))), tile
