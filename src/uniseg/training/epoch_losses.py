"""The mean losses of an epoch, gathered on the device."""

from collections.abc import Mapping, Sequence

import torch
from lightning import Trainer
from torch import Tensor

from uniseg.device_copy import to_device


class EpochLosses:
    """Sums and numbers of the finite losses per task, which nothing waits for until the epoch's end.

    Args:
        key: of the mean over all losses; that of a task is ``<key>/<name>``.
        names: of the tasks.

    Examples:
        >>> losses = EpochLosses("train/loss", ["liver", "spleen"])
        >>> losses.add(torch.tensor([1.0, float("inf"), 3.0]), [0, 0, 0])
        >>> losses.means()
        {'train/loss': 2.0, 'train/loss/liver': 2.0}
    """

    def __init__(self, key: str, names: Sequence[str]) -> None:
        self.key, self.names = key, tuple(names)
        self._sums: Tensor | None = None  # [T,2]: sum, number

    def add(self, losses: Tensor, tasks: Sequence[int]) -> None:
        """``losses [B]``, and the task of each by its place in ``names``."""
        losses = losses.detach()
        if self._sums is None or self._sums.device != losses.device:
            self._sums = self._on(losses.device)
        finite = torch.isfinite(losses)
        rows = torch.stack([torch.where(finite, losses, 0), finite.to(losses.dtype)], dim=1).to(self._sums.dtype)
        self._sums.index_add_(0, to_device(tasks, losses.device, torch.int64), rows)

    def _on(self, device: torch.device) -> Tensor:
        if self._sums is not None:
            return self._sums.to(device, _dtype(device))
        return torch.zeros(len(self.names), 2, device=device, dtype=_dtype(device))

    @property
    def running(self) -> Tensor | None:
        """Sum and number ``[2]`` of all so far, on the device; None: no loss yet."""
        return None if self._sums is None else self._sums.sum(0)

    def means(self) -> dict[str, float]:
        """Of all losses and of every task that had one; waits for the device."""
        if self._sums is None:
            return {}
        sums = [self._sums.sum(0).tolist(), *self._sums.tolist()]
        keys = [self.key, *(f"{self.key}/{name}" for name in self.names)]
        return {key: total / number for key, (total, number) in zip(keys, sums, strict=True) if number}

    def reduce(self, trainer: Trainer) -> None:
        """Sum over all ranks; every rank must call this at the same point."""
        if trainer.world_size > 1:
            device = trainer.strategy.root_device
            self._sums = trainer.strategy.reduce(self._on(device).clone(), reduce_op="sum")

    def clear(self) -> None:
        self._sums = None

    def state(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and number by key, of the tasks that had a loss, as a checkpoint holds them."""
        if self._sums is None:
            return {}
        rows = zip(self.names, self._sums.cpu(), strict=True)
        return {f"{self.key}/{name}": (row[0].clone(), row[1].clone()) for name, row in rows if row[1]}

    def load(self, state: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Go on from a ``state``; keys of other tasks are passed over."""
        rows = [[float(value) for value in state.get(f"{self.key}/{name}", (0, 0))] for name in self.names]
        self._sums = torch.tensor(rows, dtype=torch.float64)


def _dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
