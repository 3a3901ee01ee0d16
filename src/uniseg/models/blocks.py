"""The convolution block that all parts share.

Letters of this package: B batch, M modalities, C channels, K classes, T tasks, Z Y X voxels, z y x bottleneck voxels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.blocks import Convolution
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from uniseg.models.norms import InstanceNorm

NEGATIVE_SLOPE = 0.01
ACTIVATION = ("leakyrelu", {"negative_slope": NEGATIVE_SLOPE, "inplace": True})


class NormAct(nn.Module):
    """Instance norm, leaky ReLU, in one call, so that one kernel may compute both.

    Examples:
        >>> NormAct(4)(torch.zeros(2, 4, 2, 2, 2)).shape
        torch.Size([2, 4, 2, 2, 2])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.N = InstanceNorm(channels, affine=True)  # files know it by this name

    def forward(self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """``weight`` and ``bias``, ``[C]`` or per sample ``[B,C]``: in place of the norm's own."""
        return self.N.with_activation(x, NEGATIVE_SLOPE, weight, bias)


def triple(values: Sequence[int]) -> tuple[int, int, int]:
    """(z, y, x) of a list."""
    z, y, x = values
    return z, y, x


def conv_block(
    in_channels: int,
    out_channels: int,
    *,
    kernel: Sequence[int],
    stride: Sequence[int] = (1, 1, 1),
    padding: str = "zeros",
) -> Convolution:
    """Convolution, instance norm, leaky ReLU (nnU-Net's unit). No bias: the norm after it would cancel it.

    Args:
        padding: ``zeros``, or ``replicate``: the values at the border go on, so that a map does not show where it ends.
    """
    strides, kernel_size = tuple(stride), tuple(kernel)
    block = Convolution(
        3, in_channels, out_channels, strides=strides, kernel_size=kernel_size, bias=False, conv_only=True
    )
    block.conv.padding_mode = padding
    block.add_module("adn", NormAct(out_channels))
    return block


def run_stage(stage: nn.Module, *inputs: Any, recompute: bool) -> Tensor:
    """``stage(*inputs)``; with ``recompute``, training keeps the inputs alone and computes the activations again in the
    backward pass.
    """
    if recompute and stage.training and torch.is_grad_enabled():
        return checkpoint(stage, *inputs, use_reentrant=False)
    return stage(*inputs)


def init_weights(module: nn.Module) -> None:
    """He's normal initialisation of every convolution below ``module``, as the published network."""
    for part in module.modules():
        if isinstance(part, (nn.Conv3d, nn.ConvTranspose3d)):
            nn.init.kaiming_normal_(part.weight, a=NEGATIVE_SLOPE)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
