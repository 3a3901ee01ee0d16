"""What is minimised, how its gradient changes the weights, and at which rate."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from uniseg.losses.dice_ce import DiceCELoss

SGD = {"lr": 0.01, "momentum": 0.99, "nesterov": True, "weight_decay": 3e-5, "fused": None}
POLY = {"exponent": 0.9, "warmup_steps": 0}


def poly(optimizer: Optimizer, num_steps: int, *, exponent: float, warmup_steps: int, hold_steps: int) -> LambdaLR:
    """``(1 - progress) ** exponent`` after a linear warm-up.

    Progress goes up once every ``hold_steps`` steps: 1 changes the rate at every step; the number of steps per epoch
    gives nnU-Net's rate, constant inside an epoch.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return max(0.0, 1 - step // hold_steps * hold_steps / num_steps) ** exponent

    return LambdaLR(optimizer, factor)


@dataclass(frozen=True)
class Optimization:
    """Loss, optimiser and schedule; the defaults are nnU-Net's.

    Attributes:
        loss: per sample ``[B]`` from logits, label, tasks; used at every scale.
        optimizer: called with the parameters; ``lr`` is bound to it.
        scheduler: called with the optimizer and ``num_steps`` (of the whole run), stepped after every step.

    Examples:
        >>> from functools import partial
        >>> Optimization(optimizer=partial(torch.optim.AdamW, lr=0.003)).rate
        0.003
    """

    loss: nn.Module = field(default_factory=partial(DiceCELoss, dice_weight=1, ce_weight=1))
    optimizer: Callable[[Iterable], Optimizer] = field(default_factory=lambda: partial(torch.optim.SGD, **SGD))
    scheduler: Callable[..., LRScheduler] = field(default_factory=lambda: partial(poly, **POLY, hold_steps=1))

    @classmethod
    def with_steps(cls, steps_per_epoch: int) -> Self:
        """The defaults with nnU-Net's learning rate, constant inside an epoch."""
        return cls(scheduler=partial(poly, **POLY, hold_steps=steps_per_epoch))

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.optimizer.keywords["lr"]  # type: ignore[attr-defined]


def optimization_of(settings: Mapping[str, Any]) -> Optimization:
    """That of an earlier run, where it is one of torch's optimisers, the schedule ``poly`` and the loss ``DiceCELoss``;
    what is another is the default, since a checkpoint may name no code.

    Args:
        settings: of the run, by dotted key.
    """
    chosen: dict[str, Any] = {}
    loss, optimizer, scheduler = (_block(settings, name) for name in ("loss", "optimizer", "scheduler"))
    if loss.pop("_target_", "") == f"{DiceCELoss.__module__}.{DiceCELoss.__qualname__}":
        chosen["loss"] = DiceCELoss(**loss)
    module, _, name = str(optimizer.pop("_target_", "")).rpartition(".")
    kind = getattr(torch.optim, name, None) if module == "torch.optim" else None
    if isinstance(kind, type) and issubclass(kind, Optimizer):
        chosen["optimizer"] = partial(kind, **optimizer)
    if scheduler.pop("_target_", "") == f"{poly.__module__}.{poly.__qualname__}":
        chosen["scheduler"] = partial(poly, **scheduler)
    return Optimization(**chosen)


def _block(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    values = {key.removeprefix(f"{name}."): value for key, value in settings.items() if key.startswith(f"{name}.")}
    values.pop("_partial_", None)
    return values
