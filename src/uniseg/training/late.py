"""What a device has computed, read when it has arrived: nothing waits for the device."""

from collections.abc import Sequence

import torch
from lightning import Trainer
from torch import Tensor

from uniseg.device_copy import to_device


class LateReader:
    """Brings a tensor to the processor from call to call.

    On a GPU a call starts a copy and returns what the call before has brought, which was computed by then as a rule;
    elsewhere nothing is computed behind the back of Python, and a call returns its own tensor.

    Examples:
        >>> LateReader()(torch.tensor(3)).item()
        3
    """

    def __init__(self) -> None:
        self._pending: tuple[Tensor, torch.cuda.Event] | None = None

    def __call__(self, tensor: Tensor) -> Tensor | None:
        """A copy of the tensor of the call before, or on a processor of this one; None: there was none before."""
        if not tensor.is_cuda:
            return tensor.detach().clone()
        pending = self._pending
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        copy.copy_(tensor.detach(), non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending = copy, event
        if pending is None:
            return None
        pending[1].synchronize()  # of a step before: it is over, unless Python is more than that ahead of the device
        return pending[0]

    def clear(self) -> None:
        """Forget the call before."""
        self._pending = None


class Agreement:
    """The largest of what the ranks say at the end of a step, by one collective for all of it.

    On GPUs all ranks know it one step later, so that none waits for its device.

    Examples:
        >>> trainer = Trainer(logger=False, accelerator="cpu")
        >>> Agreement()(trainer, [0, 15])
        [0, 15]
    """

    def __init__(self) -> None:
        self._read = LateReader()

    def __call__(self, trainer: Trainer, values: Sequence[int]) -> list[int]:
        """Every rank must call this at the same point; zeros where there was no step before."""
        if trainer.world_size == 1:
            return list(values)
        tensor = to_device(list(values), trainer.strategy.root_device, torch.int64)
        largest = self._read(largest_of_ranks(trainer, tensor))
        return [0] * len(values) if largest is None else largest.tolist()

    def clear(self) -> None:
        """Forget what was said, as all ranks must at the same point."""
        self._read.clear()


def largest_of_ranks(trainer: Trainer, tensor: Tensor) -> Tensor:
    """Element by element, in place; by torch itself, since Lightning's goes through a barrier, which waits."""
    if trainer.world_size > 1:
        torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
    return tensor


def agreed(trainer: Trainer, value: int) -> int:
    """The largest ``value`` of all ranks now; every rank must call this at the same point."""
    if trainer.world_size == 1:
        return value
    tensor = torch.tensor(int(value), device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(tensor, reduce_op="max"))
