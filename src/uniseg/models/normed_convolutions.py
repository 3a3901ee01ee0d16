"""The convolutions ahead of a norm, with the size that their weights were drawn with."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt
from typing import TypeGuard

import torch
from monai.networks.blocks import MedNeXtBlock
from monai.networks.blocks.dynunet_block import UnetResBlock
from torch import Tensor, nn

from uniseg.models.blocks import NEGATIVE_SLOPE
from uniseg.models.decoder import DecoderStage
from uniseg.models.stem import Stem

GAIN = sqrt(2 / (1 + NEGATIVE_SLOPE**2))  # of He's normal initialisation
NORMS = (nn.InstanceNorm3d, nn.GroupNorm)  # of each sample by itself, so that a factor on it is divided out


@dataclass(frozen=True)
class NormedConvolution:
    """A convolution whose output a norm scales, so that its size leaves the function as it is but divides
    the effective learning rate by its square.

    Attributes:
        name: of the module that holds it.
        layer: the norm.
        weights: its parts: two for a decoder's convolution over [upsampled, skip], else one.
        biases: that the norm cancels, but for group norm; none in most networks.

    Examples:
        >>> weight = nn.Parameter(torch.ones(4, 2, 3, 3, 3))
        >>> NormedConvolution("conv", nn.InstanceNorm3d(4), (weight,)).drawn_norm > 0
        True
    """

    name: str
    layer: nn.Module
    weights: tuple[nn.Parameter, ...]
    biases: tuple[nn.Parameter, ...] = ()

    @property
    def drawn_norm(self) -> float:
        """The Frobenius norm that He's normal initialisation gives, whatever the weights are by now."""
        fan_in = sum(prod(weight.shape[1:]) for weight in self.weights)
        return GAIN / sqrt(fan_in) * sqrt(sum(weight.numel() for weight in self.weights))

    def norm(self) -> Tensor:
        """The Frobenius norm over all parts, a number on the weights' device."""
        return torch.stack([weight.detach().float().norm() for weight in self.weights]).norm()


def normed_convolutions(network: nn.Module) -> list[NormedConvolution]:
    """Every convolution of ``network`` with a norm right after it, in the order of its modules."""
    return [each for name, module in network.named_modules() for each in _of_module(name, module)]


def _of_module(name: str, module: nn.Module) -> Iterator[NormedConvolution]:
    if isinstance(module, UnetResBlock):  # of MONAI's, which hold norms beside convolutions
        for k in (1, 2, 3):
            if _divides(norm := getattr(module, f"norm{k}", None)):
                yield _single(f"{name}.conv{k}.conv", getattr(module, f"conv{k}").conv, norm)
    elif isinstance(module, MedNeXtBlock) and _divides(module.norm):
        yield _single(f"{name}.conv1", module.conv1, module.norm)
    elif _divides(norm := next(iter(getattr(module, "adn", nn.Identity()).children()), None)):
        if isinstance(module, DecoderStage):
            yield NormedConvolution(f"{name}.halves", norm, (module.up_half.weight, module.skip_half.weight))
        elif isinstance(module, Stem):  # a sample goes through one of them
            yield from (_single(f"{name}.convs.{modalities}", conv, norm) for modalities, conv in module.convs.items())
        elif isinstance(conv := getattr(module, "conv", None), nn.Conv3d):
            yield _single(f"{name}.conv", conv, norm)


def _single(name: str, conv: nn.Module, norm: nn.Module) -> NormedConvolution:
    bias = conv.bias
    return NormedConvolution(name, norm, (conv.weight,), () if bias is None else (bias,))  # type: ignore[arg-type]


def _divides(norm: nn.Module | None) -> TypeGuard[nn.Module]:
    return isinstance(norm, NORMS) and not getattr(norm, "track_running_stats", False)
