"""How fast weights ahead of a norm turn: the effective learning rate of every layer."""

from collections import defaultdict
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from uniseg.models.normed_convolutions import normed_convolutions
from uniseg.training.callbacks.finite_loss import gradient_scaler

RATE, EFFECTIVE, NORM = "rates/lr", "rates/effective", "norms/weight"


class EffectiveRate(Callback):
    """Logs per part of the network (``stem``, ``encoder.1``, ``conditioning``, ``decoder.0``) at every validation:
    ``norms/weight``, the norm of the weights ahead of a norm; ``rates/lr``, their learning rate; ``rates/effective``.

    Such weights have no size but a direction, whose gradient at length 1 is the gradient times the length. So the
    effective rate is the learning rate times that gradient's norm over the squared norm of the weights, which is
    ``lr |g| / |w|``: the angle, in radians, by which a step of plain gradient descent turns them. The gradient is that
    of the last step ahead of the validation; norms stay on the device until then.

    Examples:
        >>> trainer = Trainer(callbacks=[EffectiveRate()], logger=False, accelerator="cpu")
    """

    def __init__(self) -> None:
        self._rates: dict[str, Tensor] = {}

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Of the epoch's last step, whose gradients are whole and not yet clipped."""
        if not trainer.is_last_batch:
            return
        scaler = gradient_scaler(trainer) if getattr(optimizer, "_step_supports_amp_scaling", False) else None
        scale = scaler.get_scale() if scaler else 1.0  # fused optimisers take gradients as the scaler left them
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        self._rates = {}
        for part, weights in _weights_by_part(pl_module.model).items():
            trained = [w for w in weights if w.grad is not None and id(w) in rates]
            if trained:
                gradient = _norm([w.grad / scale for w in trained])  # type: ignore[operator]
                rate = max(rates[id(w)] for w in trained)
                self._rates[f"{RATE}/{part}"] = torch.as_tensor(rate, dtype=torch.float32)
                self._rates[f"{EFFECTIVE}/{part}"] = rate * gradient / _norm(trained)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        norms = {f"{NORM}/{part}": _norm(weights) for part, weights in _weights_by_part(pl_module.model).items()}
        for name, value in (norms | self._rates).items():
            pl_module.log(name, value, rank_zero_only=True)


def _weights_by_part(model: torch.nn.Module) -> dict[str, list[Any]]:
    """Convolutions ahead of a norm, of each stage of encoder and decoder, of each other part."""
    parts: dict[str, list[Any]] = defaultdict(list)
    for each in normed_convolutions(model):
        part, *rest = each.name.split(".")
        parts[f"{part}.{rest[1]}" if rest[:1] == ["stages"] else part] += each.weights
    return parts


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.detach().float().norm() for tensor in tensors]).norm()
