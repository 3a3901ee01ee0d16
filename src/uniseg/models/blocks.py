"""The convolution block that all parts share.

Letters of this package: B batch, M modalities, C channels, K classes, T tasks, Z Y X voxels, z y x bottleneck voxels.
"""

from collections.abc import Sequence

from monai.networks.blocks import ADN, Convolution
from torch import Tensor, is_grad_enabled, nn
from torch.utils.checkpoint import checkpoint

from uniseg.models.norms import NORM

NEGATIVE_SLOPE = 0.01
ACTIVATION = ("leakyrelu", {"negative_slope": NEGATIVE_SLOPE, "inplace": True})


def triple(values: Sequence[int]) -> tuple[int, int, int]:
    """(z, y, x) of a list."""
    z, y, x = values
    return z, y, x


def conv_block(
    in_channels: int, out_channels: int, *, kernel: Sequence[int], stride: Sequence[int] = (1, 1, 1)
) -> Convolution:
    """Convolution, instance norm, leaky ReLU (nnU-Net's unit). No bias: the norm after it would cancel it."""
    return Convolution(
        3,
        in_channels,
        out_channels,
        strides=tuple(stride),
        kernel_size=tuple(kernel),
        adn_ordering="NA",
        act=ACTIVATION,
        norm=NORM,
        bias=False,
    )


def norm_act(channels: int) -> ADN:
    """Instance norm, leaky ReLU: for a sum of convolutions."""
    return ADN(ordering="NA", in_channels=channels, act=ACTIVATION, norm=NORM, norm_dim=3)


def run_stage(stage: nn.Module, *inputs: Tensor, recompute: bool) -> Tensor:
    """``stage(*inputs)``; with ``recompute``, training keeps the inputs alone and computes the activations again in the
    backward pass.
    """
    if recompute and stage.training and is_grad_enabled():
        return checkpoint(stage, *inputs, use_reentrant=False)
    return stage(*inputs)


def init_weights(module: nn.Module) -> None:
    """He's normal initialisation of every convolution below ``module``, as the published network."""
    for part in module.modules():
        if isinstance(part, (nn.Conv3d, nn.ConvTranspose3d)):
            nn.init.kaiming_normal_(part.weight, a=NEGATIVE_SLOPE)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
