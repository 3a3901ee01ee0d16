"""Small tensors brought to a device without waiting for what it computes."""

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
