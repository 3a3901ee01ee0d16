"""The encoder of MedNeXt (Roy et al., MICCAI 2023), of MONAI's blocks."""

from collections.abc import Sequence
from typing import ClassVar

from monai.networks.blocks.mednext_block import MedNeXtBlock, MedNeXtDownBlock
from torch import nn

from uniseg.models.encoders.base import MOST_BLOCKS, Encoder

MOST_EXPANSION = 16


class MedNeXtEncoder(Encoder):
    """Depthwise convolution, group norm, expansion, compression beside a skip; channels double from stage to stage.

    The first convolution is MedNeXt's 1x1x1 without a norm. The last stage is what MedNeXt calls its bottleneck.

    Args:
        width: channels of the finest stage.
        blocks: number per stage, beside the one that strides.
        expansion: factor per stage on the channels within a block; a block that strides has that of the stage before.
        kernel: of the depthwise convolutions, 3 or 5 as published.

    Raises:
        ValueError: the lists do not describe the same number of stages, or a number out of bounds.

    Examples:
        >>> MedNeXtEncoder(width=4, blocks=[1, 1], expansion=[2, 2], kernel=3).channels
        (4, 8)
    """

    SMALL: ClassVar[dict] = {"width": 4, "blocks": [1, 2, 1], "expansion": [2, 3, 2], "kernel": 3}

    bare_stem = True
    stem_kernel = (1, 1, 1)

    def __init__(self, *, width: int, blocks: Sequence[int], expansion: Sequence[int], kernel: int) -> None:
        super().__init__()
        if len(blocks) != len(expansion):
            raise ValueError(f"{len(blocks)} blocks, {len(expansion)} expansions: expected as many")
        for name, numbers, most in (("blocks", blocks, MOST_BLOCKS), ("expansion", expansion, MOST_EXPANSION)):
            if not 1 <= min(numbers) <= max(numbers) <= most:
                raise ValueError(f"{name} {list(numbers)}: expected 1 to {most} in a stage")
        if kernel not in (3, 5, 7):
            raise ValueError(f"kernel {kernel}: expected 3, 5 or 7")
        self.channels = tuple(width * 2**i for i in range(len(blocks)))
        self.strides = ((1, 1, 1), *[(2, 2, 2)] * (len(blocks) - 1))
        how = {"kernel_size": kernel, "use_residual_connection": True, "norm_type": "group"}
        stages = []
        for i, (channels, count, ratio) in enumerate(zip(self.channels, blocks, expansion, strict=True)):
            stage = [MedNeXtBlock(channels, channels, ratio, **how) for _ in range(count)]
            if i:
                stage.insert(0, MedNeXtDownBlock(self.channels[i - 1], channels, expansion[i - 1], **how))
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)
