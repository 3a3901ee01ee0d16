"""The encoder of nnU-Net's plain U-Net, which is the published UniSeg's."""

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from uniseg.models.blocks import conv_block, triple
from uniseg.models.encoders.base import Encoder


class UNetEncoder(Encoder):
    """Two convolution blocks per stage; the first of a stage strides; the very first is the stem's.

    Args:
        channels: per stage.
        strides: per stage after the first, (z, y, x).
        kernels: per stage, (z, y, x).
        bottleneck_padding: of the last stage's convolutions, ``zeros`` or ``replicate``. In a bottleneck of few voxels,
            all of them at the border, a pattern that is the same for all images outgrows the image.

    Raises:
        ValueError: the three lists do not describe the same number of stages.

    Examples:
        >>> UNetEncoder(**UNetEncoder.SMALL).channels
        (4, 6, 8)
    """

    SMALL: ClassVar[dict] = {
        "channels": [4, 6, 8],
        "strides": [[1, 2, 2], [2, 2, 2]],
        "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    }

    def __init__(
        self,
        *,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        kernels: Sequence[Sequence[int]],
        bottleneck_padding: str = "zeros",
    ) -> None:
        super().__init__()
        if not len(channels) == len(strides) + 1 == len(kernels):
            raise ValueError(
                f"{len(channels)} channels, {len(strides)} strides, {len(kernels)} kernels: expected n, n - 1, n"
            )
        self.channels = tuple(channels)
        self.strides = ((1, 1, 1), *map(triple, strides))
        self.stem_kernel = triple(kernels[0])
        stages = [nn.Sequential(conv_block(channels[0], channels[0], kernel=kernels[0]))]
        paddings = ["zeros"] * (len(strides) - 1) + [bottleneck_padding]
        numbers = zip(channels[:-1], channels[1:], strides, kernels[1:], paddings, strict=True)
        for below, width, stride, kernel, padding in numbers:
            stages.append(
                nn.Sequential(
                    conv_block(below, width, kernel=kernel, stride=stride, padding=padding),
                    conv_block(width, width, kernel=kernel, padding=padding),
                )
            )
        self.stages = nn.ModuleList(stages)
