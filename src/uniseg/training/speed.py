"""Faster or leaner training steps with the same numbers and the same state dict."""

import os
import shutil
from dataclasses import dataclass
from typing import ClassVar

import torch

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
    if settings.channels_last:
        model.to(memory_format=torch.channels_last_3d)
    model.set_recompute(settings.checkpoint_activations)
    if settings.compile:
        _require_compiler()
        model.encoder.compile()
        model.decoder.compile()


def _require_compiler() -> None:
    name = os.environ.get("CXX", "g++")
    if not shutil.which(name):
        raise InputError(
            "speed.compile",
            f"no C++ compiler {name}",
            "one on the path, or named by CXX",
            "install g++, or leave speed.compile false",
        )
