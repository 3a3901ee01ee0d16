"""DoDNet's conditioning: the task as a one-hot code (Zhang et al., CVPR 2021)."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from uniseg.models.conditioning.base import Conditioning, ConditioningOutput
from uniseg.task import TaskSet


class OneHot(Conditioning):
    """Leaves the features alone; a dynamic head reads the task code ``[B,T]``.

    Examples:
        >>> import torch
        >>> conditioning = OneHot(channels=8, tasks=["liver", "spleen"], size=(2, 2, 2))
        >>> conditioning(torch.zeros(1, 8, 2, 2, 2), torch.tensor([1])).task_code.tolist()
        [[0.0, 1.0]]
    """

    writes_task_code = True
    changes_features = False

    def __init__(self, *, channels: int, tasks: TaskSet, size: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = channels
        self.task_code_channels = len(tasks)

    def forward(self, bottleneck: Tensor, task: Tensor) -> ConditioningOutput:
        features = bottleneck.expand(task.shape[0], -1, -1, -1, -1)
        return ConditioningOutput(
            features, F.one_hot(task, self.task_code_channels).to(features.dtype), features[:, :0]
        )
