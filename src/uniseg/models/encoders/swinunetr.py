"""The encoder of SwinUNETR (Hatamizadeh et al. 2022), of MONAI's transformer blocks."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from monai.networks.blocks import PatchEmbed, UnetrBasicBlock
from monai.networks.nets.swin_unetr import (
    PatchMergingV2,
    SwinTransformerBlock,
    WindowAttention,
    compute_mask,
    get_window_size,
)
from torch import Tensor, nn
from torch.nn import functional as F

from uniseg.models.blocks import run_stage
from uniseg.models.encoders.base import MOST_BLOCKS, Encoder
from uniseg.models.norms import NORM

MOST_WINDOW = 16


class SwinUNETREncoder(Encoder):
    """Tokens of 2x2x2 voxels, attention within shifted windows, patch merging; a residual block refines what leaves.

    Tokens are made of the output of our first convolution, which depends on the number of modalities, where MONAI makes
    them of the image. As MONAI, the second coarsest map leaves as it is.

    Args:
        width: channels of the finest map, a multiple of every number of heads divided by its stage's factor.
        depths: transformer blocks per stage of tokens, even as published: every second one shifts its windows.
        heads: of the attention, per stage of tokens.
        window: voxels of a window along each axis; smaller maps are one window.

    Raises:
        ValueError: the lists do not describe the same number of stages, a number out of bounds, or channels that the
            heads do not divide.

    Examples:
        >>> SwinUNETREncoder(width=6, depths=[2], heads=[3], window=2).channels
        (6, 6, 12)
    """

    SMALL: ClassVar[dict] = {"width": 6, "depths": [2, 1], "heads": [1, 2], "window": 2}

    stem_kernel = (3, 3, 3)

    def __init__(self, *, width: int, depths: Sequence[int], heads: Sequence[int], window: int) -> None:
        super().__init__()
        if len(depths) != len(heads):
            raise ValueError(f"{len(depths)} depths, {len(heads)} heads: expected as many")
        if not 1 <= min(depths) <= max(depths) <= MOST_BLOCKS or not 2 <= window <= MOST_WINDOW:
            expected = f"1 to {MOST_BLOCKS}, 2 to {MOST_WINDOW}"
            raise ValueError(f"depths {list(depths)}, window {window}: expected {expected}")
        widths = [width * 2**i for i in range(len(depths) + 1)]
        if any(h < 1 or w % h for w, h in zip(widths, heads, strict=False)):
            raise ValueError(f"heads {list(heads)}: expected divisors of {widths[:-1]}")
        self.channels = (width, *widths)
        self.strides = ((1, 1, 1), *[(2, 2, 2)] * (len(widths)))
        embed = PatchEmbed(patch_size=2, in_chans=width, embed_dim=width, norm_layer=None, spatial_dims=3)
        layers = [SwinLayer(w, d, h, window) for w, d, h in zip(widths, depths, heads, strict=False)]
        ways = [nn.Identity(), embed, *layers]
        self.stages = nn.ModuleList(
            SwinStage(way, channels, is_normed=i > 0, is_refined=i != len(ways) - 2)
            for i, (way, channels) in enumerate(zip(ways, self.channels, strict=True))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            x, feature = run_stage(stage, x, recompute=self.recompute)
            features.append(feature)
        return features


class SwinStage(nn.Module):
    """Tokens for the next stage, and the feature map that leaves: normalised without parameters, then refined.

    Examples:
        >>> tokens, feature = SwinStage(nn.Identity(), 4, is_normed=True, is_refined=True)(torch.zeros(1, 4, 4, 4, 4))
        >>> feature.shape
        torch.Size([1, 4, 4, 4, 4])
    """

    def __init__(self, way: nn.Module, channels: int, *, is_normed: bool, is_refined: bool) -> None:
        super().__init__()
        self.way, self.is_normed = way, is_normed
        self.refine = (
            UnetrBasicBlock(3, channels, channels, 3, 1, NORM, res_block=True) if is_refined else nn.Identity()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.way(x)
        if not self.is_normed:
            return x, self.refine(x)
        normed = F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)
        return x, self.refine(normed.contiguous())


class SwinLayer(nn.Module):
    """Transformer blocks on ``[B,C,Z,Y,X]``, then merging to ``[B,2C,Z/2,Y/2,X/2]``.

    Examples:
        >>> SwinLayer(4, depth=2, heads=2, window=2)(torch.zeros(1, 4, 4, 4, 4)).shape
        torch.Size([1, 8, 2, 2, 2])
    """

    def __init__(self, channels: int, depth: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = (window,) * 3
        self.shift = (window // 2,) * 3
        self.blocks = nn.ModuleList(
            SwinTransformerBlock(channels, heads, self.window, self.shift if i % 2 else (0, 0, 0)) for i in range(depth)
        )
        self.merge = PatchMergingV2(channels)
        # MONAI writes this table of whole numbers into files; it follows from the window alone.
        with torch.device("cpu"):
            index = WindowAttention(1, 1, self.window).relative_position_index
        for block in self.blocks:
            block.attn.register_buffer("relative_position_index", index.clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        x = x.movedim(1, -1).contiguous()
        window, shift = get_window_size(size, self.window, self.shift)
        padded = [-(-n // w) * w for n, w in zip(size, window, strict=True)]
        mask = compute_mask(padded, window, shift, x.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.merge(x).movedim(-1, 1).contiguous()
