"""The convolutions ahead of an instance norm, with the norm that their weights were drawn with."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt

import torch
from torch import Tensor, nn

from uniseg.models.blocks import NEGATIVE_SLOPE
from uniseg.models.decoder import DecoderStage
from uniseg.models.stem import Stem

GAIN = sqrt(2 / (1 + NEGATIVE_SLOPE**2))  # of He's normal initialisation


@dataclass(frozen=True)
class NormedConvolution:
    """A convolution whose output an instance norm scales, so that its size leaves the function as it is but divides
    the effective learning rate by its square.

    Attributes:
        name: of the module that holds it.
        weights: its parts: two for a decoder's convolution over [upsampled, skip], else one.

    Examples:
        >>> NormedConvolution("conv", (nn.Parameter(torch.ones(4, 2, 3, 3, 3)),)).drawn_norm > 0
        True
    """

    name: str
    weights: tuple[nn.Parameter, ...]

    @property
    def drawn_norm(self) -> float:
        """The Frobenius norm that He's normal initialisation gives, whatever the weights are by now."""
        fan_in = sum(prod(weight.shape[1:]) for weight in self.weights)
        return GAIN / sqrt(fan_in) * sqrt(sum(weight.numel() for weight in self.weights))

    def norm(self) -> Tensor:
        """The Frobenius norm over all parts, a number on the weights' device."""
        return torch.stack([weight.detach().float().norm() for weight in self.weights]).norm()


def normed_convolutions(network: nn.Module) -> list[NormedConvolution]:
    """Every convolution of ``network`` with an instance norm right after it, in the order of its modules."""
    return [each for name, module in network.named_modules() for each in _of_module(name, module)]


def _of_module(name: str, module: nn.Module) -> Iterator[NormedConvolution]:
    if not _has_norm(getattr(module, "adn", None)):
        return
    if isinstance(module, DecoderStage):
        yield NormedConvolution(f"{name}.halves", (module.up_half.weight, module.skip_half.weight))
    elif isinstance(module, Stem):
        for modalities, conv in module.convs.items():
            yield NormedConvolution(f"{name}.convs.{modalities}", (conv.weight,))
    elif isinstance(single := getattr(module, "conv", None), nn.Conv3d):
        yield NormedConvolution(f"{name}.conv", (single.weight,))


def _has_norm(adn: nn.Module | None) -> bool:
    return adn is not None and any(isinstance(part, nn.InstanceNorm3d) for part in adn.modules())
