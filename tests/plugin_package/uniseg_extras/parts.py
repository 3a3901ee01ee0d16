"""An encoder, a conditioning, a head: the least that each contract asks for."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from uniseg.models.blocks import conv_block
from uniseg.models.conditioning.base import Conditioning, ConditioningOutput, plain
from uniseg.models.encoders.base import Encoder
from uniseg.models.heads.base import Head, mask_padding_classes
from uniseg.task import TaskSet


class PlainEncoder(Encoder):
    """One convolution per stage."""

    def __init__(self, *, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.strides = ((1, 1, 1), *[(2, 2, 2)] * (len(channels) - 1))
        self.stem_kernel = (3, 3, 3)
        below = (channels[0], *channels[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(conv_block(b, c, kernel=(3, 3, 3), stride=s))
            for b, c, s in zip(below, channels, self.strides, strict=True)
        )


class TaskScale(Conditioning):
    """Scales the bottleneck's channels, by factors of each task."""

    def __init__(self, *, channels: int, tasks: TaskSet, size: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = channels
        self.factors = nn.Parameter(torch.ones(len(tasks), channels))

    def forward(self, bottleneck: Tensor, task: Tensor) -> ConditioningOutput:
        return plain(bottleneck * self.factors[task][:, :, None, None, None])


class BiasedHead(Head):
    """One convolution per scale, shared by all tasks."""

    def __init__(self, *, channels: Sequence[int], tasks: TaskSet, control_channels: int) -> None:
        super().__init__()
        widest = max(task.num_classes for task in tasks)
        self.convs = nn.ModuleList(nn.Conv3d(c, widest, 1) for c in channels)

    def forward(
        self, pyramid: Sequence[Tensor], conditioned: ConditioningOutput, task: Tensor, num_classes: Sequence[int]
    ) -> list[Tensor]:
        rows = slice(max(num_classes))
        return [
            mask_padding_classes(conv(x)[:, rows], num_classes) for conv, x in zip(self.convs, pyramid, strict=True)
        ]
