"""DoDNet's conditioning: the task as a one-hot code (Zhang et al., CVPR 2021)."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from uniseg.models.conditioning.base import Conditioned, Conditioning
from uniseg.task import TaskSet


class OneHot(Conditioning):
    """Leaves the features alone; a dynamic head reads the code ``[B,T]``."""

    def __init__(self, *, channels: int, tasks: TaskSet, size: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = channels
        self.code_channels = len(tasks)

    def forward(self, bottleneck: Tensor, task: Tensor) -> Conditioned:
        features = bottleneck.expand(len(task), -1, -1, -1, -1)
        return Conditioned(features, F.one_hot(task, self.code_channels).to(features.dtype), features[:, :0])
