"""Small tensors brought to a device, and samples chosen there, without waiting for what it computes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def to_device(values: Any, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
    """``values`` (numbers, a NumPy array, a tensor) as a tensor on ``device``.

    A copy from ordinary memory to a GPU waits for all that was queued there before; one from pinned memory does not.
    What is on the device already stays there.

    Examples:
        >>> to_device([1, 2], "cpu").tolist()
        [1, 2]
    """
    tensor = torch.as_tensor(values, dtype=dtype)
    device = torch.device(device)
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def take_rows(x: Tensor, rows: Sequence[int]) -> Tensor:
    """``x[rows]`` by slices: an index would be copied to a GPU, for which the processor waits."""
    if list(rows) == list(range(len(x))):
        return x
    samples = x.split(1)
    return torch.cat([samples[row] for row in rows])


def merge_rows(parts: Sequence[Tensor], rows: Sequence[Sequence[int]]) -> Tensor:
    """Tensors of the samples ``rows[i]`` each -> one in the order of the batch."""
    samples = [sample for part in parts for sample in part.split(1)]
    order = {row: position for position, row in enumerate(row for part in rows for row in part)}
    return torch.cat([samples[order[row]] for row in range(len(samples))])
