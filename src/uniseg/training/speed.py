"""Faster or leaner training steps with the same numbers and the same state dict."""

import os
import shutil
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel


@dataclass(frozen=True)
class SpeedSettings:
    """How a network computes; the numbers of a step stay the same up to rounding.

    Attributes:
        compile: encoder and decoder are compiled on first use, again for other shapes; stem, conditioning and head stay
            eager.
        channels_last: weights are laid out channels last, which the convolutions hand on to what they compute.
        checkpoint_activations: in training, every stage keeps only its input and is computed again in the backward
            pass.

    Examples:
        >>> SpeedSettings(channels_last=True).compile
        False
    """

    group: ClassVar[str] = "speed"

    compile: bool = False
    channels_last: bool = False
    checkpoint_activations: bool = False


def apply_speed_settings(model: UniSegModel, settings: SpeedSettings) -> None:
    """Change how ``model`` computes, in place.

    Raises:
        InputError: compilation is chosen, without a C++ compiler.
    """
    for part in model.modules():
        if type(part) is nn.InstanceNorm3d:
            part.__class__ = _ProcessorNorm
    if settings.channels_last:
        model.to(memory_format=torch.channels_last_3d)
    if settings.checkpoint_activations:
        for stage in (*model.encoder.stages, *model.decoder.stages):
            stage.__class__ = _recomputed(type(stage))
    if settings.compile:
        _require_compiler()
        model.encoder.compile()
        model.decoder.compile()


class _ProcessorNorm(nn.InstanceNorm3d):
    """Instance norm by the faster of torch's kernels on processors: its own copies channels last to channels first, and
    is the slowest for both.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        if x.is_contiguous(memory_format=torch.channels_last_3d):
            return torch.cat(
                [
                    F.batch_norm(sample, None, None, self.weight, self.bias, training=True, eps=self.eps)
                    for sample in x.split(1)
                ]
            )
        return F.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


@cache
def _recomputed(kind: type[nn.Module]) -> type[nn.Module]:
    """``kind`` whose activations are computed again in the backward pass; a class, so that copies of a module stay
    independent.
    """

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            return checkpoint(kind.forward, self, *inputs, use_reentrant=False)
        return kind.forward(self, *inputs)

    return type(f"Recomputed{kind.__name__}", (kind,), {"forward": forward})


def _require_compiler() -> None:
    name = os.environ.get("CXX", "g++")
    if not shutil.which(name):
        raise InputError(
            "speed.compile",
            f"no C++ compiler {name}",
            "one on the path, or named by CXX",
            "install g++, or leave speed.compile false",
        )
