"""What a decoder may know of an encoder."""

from typing import ClassVar

from torch import Tensor, nn

from uniseg.models.blocks import run_stage

MOST_BLOCKS = 100  # of a stage


class Encoder(nn.Module):
    """Turns the stem's output into features, finest first.

    Attributes:
        channels: C of every feature map; ``channels[0]`` is also what the stem must deliver.
        strides: (z, y, x) downsampling on the way into every stage; ``strides[0]`` is (1, 1, 1).
        stem_kernel: (z, y, x) kernel of the first convolution.
        bare_stem: whether the first stage begins with a norm, so that the first convolution has none after it.
        stages: one module per feature map, each reads the one before.
        SMALL: constructor arguments of a small network with each kind of its blocks, which every contract test tries.
        recompute: whether training computes the activations of a stage again in the backward pass.

    Examples:
        >>> import torch
        >>> class Pool(Encoder):
        ...     channels, strides, stem_kernel = (1, 1), ((1, 1, 1), (2, 2, 2)), (3, 3, 3)
        ...     stages = (nn.Identity(), nn.AvgPool3d(2))
        >>> [tuple(x.shape) for x in Pool()(torch.zeros(1, 1, 4, 4, 4))]
        [(1, 1, 4, 4, 4), (1, 1, 2, 2, 2)]
    """

    SMALL: ClassVar[dict] = {}

    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    stem_kernel: tuple[int, ...]
    bare_stem: bool = False
    stages: nn.ModuleList
    recompute: bool = False

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[B, channels[0], Z, Y, X]`` -> one ``[B, channels[i], ...]`` per stage."""
        features = []
        for stage in self.stages:
            x = run_stage(stage, x, recompute=self.recompute)
            features.append(x)
        return features
