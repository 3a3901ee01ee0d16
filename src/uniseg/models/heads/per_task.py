"""One head per task on shared features (MultiTalent, Ulrich et al., MICCAI 2023)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from uniseg.models.conditioning.base import ConditioningOutput
from uniseg.models.heads.base import Head, Readout, conv_readout, mask_padding_classes
from uniseg.task import TaskSet


class PerTaskHead(Head):
    """One 1x1x1 convolution per scale holds the classes of all tasks, task after task; a sample gets its task's.

    Examples:
        >>> from uniseg.models.conditioning.base import plain
        >>> from uniseg.task import Normalization, Task, TaskSet
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (1, 1, 1), (Normalization("zscore", masked=False),))
        >>> head = PerTaskHead(channels=[4], tasks=TaskSet([liver]), control_channels=8)
        >>> conditioned = plain(torch.zeros(1, 8, 2, 2, 2))
        >>> head([torch.zeros(1, 4, 4, 4, 4)], conditioned, torch.tensor([0]), [2])[0].shape
        torch.Size([1, 2, 4, 4, 4])
    """

    knows_task = True

    first_row: Tensor

    def __init__(self, *, channels: Sequence[int], tasks: TaskSet, control_channels: int) -> None:
        super().__init__()
        # On the processor even where the rest is built on meta: no file holds it.
        counts = torch.tensor([task.num_classes for task in tasks], device="cpu")
        self.register_buffer("first_row", counts.cumsum(0) - counts, persistent=False)
        self.convs = nn.ModuleList(nn.Conv3d(c, int(counts.sum()), 1, bias=False) for c in channels)

    def forward(
        self, pyramid: Sequence[Tensor], conditioned: ConditioningOutput, task: Tensor, num_classes: Sequence[int]
    ) -> list[Tensor]:
        # [B,K]; those of padding are masked
        rows = self.first_row[task][:, None] + torch.arange(max(num_classes), device=task.device)
        logits = []
        for x, conv in zip(pyramid, self.convs, strict=True):
            weight = conv.weight.flatten(1)[rows.clamp_max(len(conv.weight) - 1)]  # [B,K,C]
            logits.append(mask_padding_classes(torch.bmm(weight, x.flatten(2)).unflatten(2, x.shape[2:]), num_classes))
        return logits

    def readout(self, task_index: int, num_classes: int) -> Readout:
        first = int(self.first_row[task_index])
        return conv_readout(self.convs[0], slice(first, first + num_classes))
