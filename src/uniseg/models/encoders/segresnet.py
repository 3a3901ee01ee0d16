"""The encoder of SegResNet (Myronenko 2018), of MONAI's blocks."""

from collections.abc import Sequence
from typing import ClassVar

from monai.networks.nets.segresnet_ds import SegResEncoder, aniso_kernel
from torch import nn

from uniseg.models.blocks import triple
from uniseg.models.encoders.base import MOST_BLOCKS, Encoder
from uniseg.models.norms import NORM


class SegResNetEncoder(Encoder):
    """MONAI's ``SegResNetDS``: pre-activated residual blocks, channels
    double from stage to stage.

    A stage's kernel is 3 along the axes that the next stride halves, 1 along the others, as MONAI has it; the last
    stage's is 3x3x3.

    Args:
        width: channels of the finest stage.
        strides: per stage after the first, (z, y, x), 1 or 2 each.
        blocks: number per stage.
        num_groups: of group norm, 8 in MONAI's ``SegResNet``; None: instance norm, as Auto3DSeg has it.
        bare_stem: no norm after the first convolution, as in MONAI, which its trained weights need.

    Raises:
        ValueError: the lists do not describe the same number of stages, or a stage has no block or more than
            ``MOST_BLOCKS``.

    Examples:
        >>> SegResNetEncoder(**SegResNetEncoder.SMALL).channels
        (4, 8, 16)
    """

    SMALL: ClassVar[dict] = {"width": 4, "strides": [[1, 2, 2], [2, 2, 2]], "blocks": [1, 2, 1]}

    def __init__(
        self,
        *,
        width: int,
        strides: Sequence[Sequence[int]],
        blocks: Sequence[int],
        num_groups: int | None = None,
        bare_stem: bool = False,
    ) -> None:
        super().__init__()
        self.bare_stem = bare_stem
        if len(strides) + 1 != len(blocks):
            raise ValueError(f"{len(strides)} strides, {len(blocks)} blocks: expected n - 1, n")
        if not 1 <= min(blocks) <= max(blocks) <= MOST_BLOCKS:
            raise ValueError(f"blocks {list(blocks)}: expected 1 to {MOST_BLOCKS} in a stage")
        scales = (*map(triple, strides), (2, 2, 2))
        self.channels = tuple(width * 2**i for i in range(len(blocks)))
        self.strides = ((1, 1, 1), *scales[:-1])
        self.stem_kernel = triple(aniso_kernel(scales[0])[0])
        norm = NORM if num_groups is None else ("group", {"num_groups": num_groups})
        levels = SegResEncoder(
            3, init_filters=width, norm=norm, blocks_down=tuple(blocks), anisotropic_scales=scales
        ).layers
        ways_down = (nn.Identity(), *(level["downsample"] for level in levels[:-1]))
        self.stages = nn.ModuleList(
            nn.Sequential(down, level["blocks"]) for down, level in zip(ways_down, levels, strict=True)
        )
