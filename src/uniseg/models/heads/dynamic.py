"""DoDNet's head: a controller writes the kernels for every sample (Zhang et al., CVPR 2021, section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uniseg.models.blocks import NEGATIVE_SLOPE
from uniseg.models.conditioning.base import ConditioningOutput
from uniseg.models.heads.base import Head, mask_padding_classes
from uniseg.task import TaskSet


class DynamicHead(Head):
    """Three 1x1x1 convolutions whose weights come from cat[pooled features, task code]; the same ones at every scale.

    Args:
        width: channels between the three convolutions; 8 as published.

    Examples:
        >>> from uniseg.models.conditioning.base import plain
        >>> from uniseg.task import Normalization, Task, TaskSet
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (1, 1, 1), (Normalization("zscore", masked=False),))
        >>> head = DynamicHead(channels=[4], tasks=TaskSet([liver]), control_channels=8, width=8)
        >>> conditioned = plain(torch.zeros(1, 8, 2, 2, 2))
        >>> head([torch.zeros(1, 4, 4, 4, 4)], conditioned, torch.tensor([0]), [2])[0].shape
        torch.Size([1, 2, 4, 4, 4])
    """

    reads_task_code = True

    def __init__(self, *, channels: Sequence[int], tasks: TaskSet, control_channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.widest = max(task.num_classes for task in tasks)
        self.sizes = [width * width, width, width * width, width, self.widest * width, self.widest]
        self.controller = nn.Linear(control_channels, sum(self.sizes))
        self.narrow = nn.ModuleList(nn.Conv3d(c, width, 1) for c in channels)

    def forward(
        self, pyramid: Sequence[Tensor], conditioned: ConditioningOutput, task: Tensor, num_classes: Sequence[int]
    ) -> list[Tensor]:
        kernels = self._kernels(conditioned, max(num_classes))
        logits = []
        for x, narrow in zip(pyramid, self.narrow, strict=True):
            h = narrow(x).flatten(2)
            for i, (weight, bias) in enumerate(kernels):
                h = torch.baddbmm(bias, weight, F.leaky_relu(h, NEGATIVE_SLOPE) if i else h)
            logits.append(mask_padding_classes(h.unflatten(2, x.shape[2:]), num_classes))
        return logits

    def _kernels(self, conditioned: ConditioningOutput, num_rows: int) -> list[tuple[Tensor, Tensor]]:
        """Weight ``[B,out,width]``, bias ``[B,out,1]`` of the three convolutions; of the last only the rows that the
        batch needs.
        """
        written = self.controller(torch.cat([conditioned.features.mean((2, 3, 4)), conditioned.task_code], dim=1))
        parts = written.split(self.sizes, dim=1)
        pairs = [
            (w.unflatten(1, (-1, self.width)), b.unsqueeze(2)) for w, b in zip(parts[::2], parts[1::2], strict=True)
        ]
        return [*pairs[:-1], (pairs[-1][0][:, :num_rows], pairs[-1][1][:, :num_rows])]
