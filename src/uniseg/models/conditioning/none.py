"""No conditioning: the network is not told the task."""

from collections.abc import Sequence

from torch import Tensor

from uniseg.models.conditioning.base import Conditioned, Conditioning, plain
from uniseg.task import TaskSet


class NoConditioning(Conditioning):
    """Hands the bottleneck on. With one task this is a single-task network."""

    def __init__(self, *, channels: int, tasks: TaskSet, size: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, bottleneck: Tensor, task: Tensor) -> Conditioned:
        return plain(bottleneck.expand(len(task), -1, -1, -1, -1))
