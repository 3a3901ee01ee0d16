"""The published head: one 1x1x1 convolution per scale, shared by all tasks."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from uniseg.models.conditioning.base import ConditioningOutput
from uniseg.models.heads.base import Head, Readout, conv_readout, mask_padding_classes
from uniseg.task import TaskSet


class StaticHead(Head):
    """Row k of the weight is class k of whatever task; only rows that the batch needs are computed.

    Args:
        bias: whether the classes have biases, as nnU-Net v2's.

    Examples:
        >>> import torch
        >>> from uniseg.models.conditioning.base import plain
        >>> from uniseg.task import Normalization, Task, TaskSet
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (1, 1, 1), (Normalization("zscore", masked=False),))
        >>> head = StaticHead(channels=[4], tasks=TaskSet([liver]), control_channels=8)
        >>> conditioned = plain(torch.zeros(1, 8, 2, 2, 2))
        >>> head([torch.zeros(1, 4, 4, 4, 4)], conditioned, torch.tensor([0]), [2])[0].shape
        torch.Size([1, 2, 4, 4, 4])
    """

    def __init__(self, *, channels: Sequence[int], tasks: TaskSet, control_channels: int, bias: bool = False) -> None:
        super().__init__()
        widest = max(task.num_classes for task in tasks)
        self.convs = nn.ModuleList(nn.Conv3d(c, widest, 1, bias=bias) for c in channels)

    def forward(
        self, pyramid: Sequence[Tensor], conditioned: ConditioningOutput, task: Tensor, num_classes: Sequence[int]
    ) -> list[Tensor]:
        widest = max(num_classes)
        rows = [(conv.weight[:widest], None if conv.bias is None else conv.bias[:widest]) for conv in self.convs]
        return [mask_padding_classes(F.conv3d(x, *row), num_classes) for x, row in zip(pyramid, rows, strict=True)]

    def readout(self, task_index: int, num_classes: int) -> Readout:
        return conv_readout(self.convs[0], slice(num_classes))
