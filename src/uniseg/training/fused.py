"""What torch's fused optimisers need of gradients and of their state."""

import torch
from torch import nn
from torch.optim import Optimizer


def is_fused(optimizer: Optimizer) -> bool:
    """Whether one kernel changes all weights."""
    return any(group.get("fused") for group in optimizer.param_groups)


def fill_momentum(optimizer: Optimizer) -> None:
    """Zeros as the first momentum of a fused SGD.

    Torch's kernel leaves memory uninitialised as momentum where the gradient scaler skips its first step, as a scale
    that is too large at the start makes it; the steps after it would read that.
    """
    if not (isinstance(optimizer, torch.optim.SGD) and is_fused(optimizer)):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] and not group["dampening"] else []:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def match_strides(parameters: list[nn.Parameter]) -> None:
    """Gradients get the strides of their weights, in place.

    Autograd lets them differ along axes of length 1, where strides mean nothing; fused kernels on CUDA refuse that.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = gradient.as_strided(parameter.shape, parameter.stride())


def ambiguous(optimizer: Optimizer) -> list[nn.Parameter]:
    """The weights of a fused optimiser that have axes of length 1."""
    if not is_fused(optimizer):
        return []
    return [p for group in optimizer.param_groups for p in group["params"] if 1 in p.shape]
