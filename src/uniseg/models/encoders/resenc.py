"""The residual encoder of nnU-Net's ResEnc presets."""

from collections.abc import Sequence
from typing import ClassVar

from monai.networks.blocks import Convolution
from monai.networks.layers.utils import get_act_layer
from torch import Tensor, nn

from uniseg.models.blocks import ACTIVATION, conv_block, triple
from uniseg.models.encoders.base import MOST_BLOCKS, Encoder
from uniseg.models.norms import NORM


class ResidualBlock(nn.Module):
    """Two convolutions with norms beside a skip, the last activation after their sum (ResNet-D, as nnU-Net's
    ``BasicBlockD``).

    The skip averages over the stride, then has a 1x1x1 convolution with norm where the channels change.

    Examples:
        >>> import torch
        >>> block = ResidualBlock(2, 4, kernel=(3, 3, 3), stride=(1, 2, 2))
        >>> block(torch.zeros(1, 2, 4, 8, 8)).shape
        torch.Size([1, 4, 4, 4, 4])
    """

    def __init__(self, in_channels: int, channels: int, *, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.first = conv_block(in_channels, channels, kernel=kernel, stride=stride)
        self.second = conv_norm(channels, channels, kernel=kernel)
        self.skip = nn.Sequential()
        if any(s != 1 for s in stride):
            self.skip.append(nn.AvgPool3d(tuple(stride), tuple(stride)))
        if in_channels != channels:
            self.skip.append(conv_norm(in_channels, channels, kernel=(1, 1, 1)))
        self.act = get_act_layer(ACTIVATION)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.second(self.first(x)) + self.skip(x))


class ResidualEncoder(Encoder):
    """Residual blocks per stage, the first of a stage strides; the stem is nnU-Net's single convolution before them.

    nnU-Net's biases are left out: the norms after them cancel them.

    Args:
        channels: per stage.
        strides: per stage after the first, (z, y, x).
        kernels: per stage, (z, y, x).
        blocks: number per stage.

    Raises:
        ValueError: the lists do not describe the same number of stages, or a stage has no block or more than
            ``MOST_BLOCKS``.

    Examples:
        >>> ResidualEncoder(**ResidualEncoder.SMALL).channels
        (4, 6, 8)
    """

    SMALL: ClassVar[dict] = {
        "channels": [4, 6, 8],
        "strides": [[1, 2, 2], [2, 2, 2]],
        "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "blocks": [1, 2, 1],
    }

    def __init__(
        self,
        *,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        kernels: Sequence[Sequence[int]],
        blocks: Sequence[int],
    ) -> None:
        super().__init__()
        if not len(channels) == len(strides) + 1 == len(kernels) == len(blocks):
            raise ValueError(
                f"{len(channels)} channels, {len(strides)} strides, {len(kernels)} kernels, {len(blocks)} blocks: "
                f"expected n, n - 1, n, n"
            )
        if not 1 <= min(blocks) <= max(blocks) <= MOST_BLOCKS:
            raise ValueError(f"blocks {list(blocks)}: expected 1 to {MOST_BLOCKS} in a stage")
        self.channels = tuple(channels)
        self.strides = ((1, 1, 1), *map(triple, strides))
        self.stem_kernel = triple(kernels[0])
        below = (channels[0], *channels[:-1])
        self.stages = nn.ModuleList(
            _stage(*numbers) for numbers in zip(below, channels, kernels, self.strides, blocks, strict=True)
        )


def conv_norm(in_channels: int, out_channels: int, *, kernel: Sequence[int]) -> Convolution:
    """Convolution, instance norm."""
    return Convolution(
        3, in_channels, out_channels, kernel_size=tuple(kernel), adn_ordering="N", act=None, norm=NORM, bias=False
    )


def _stage(in_channels: int, channels: int, kernel: Sequence[int], stride: Sequence[int], blocks: int) -> nn.Sequential:
    rest = (ResidualBlock(channels, channels, kernel=kernel, stride=(1, 1, 1)) for _ in range(blocks - 1))
    return nn.Sequential(ResidualBlock(in_channels, channels, kernel=kernel, stride=stride), *rest)
