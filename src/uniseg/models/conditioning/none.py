"""No conditioning: the network does not know the task."""

from collections.abc import Sequence

from torch import Tensor

from uniseg.models.conditioning.base import Conditioning, ConditioningOutput, plain
from uniseg.task import TaskSet


class NoConditioning(Conditioning):
    """Leaves the bottleneck as it is; with one task this is a single-task network.

    Examples:
        >>> NoConditioning(channels=8, tasks=None, size=(2, 2, 2)).out_channels
        8
    """

    knows_task = False
    changes_features = False

    def __init__(self, *, channels: int, tasks: TaskSet, size: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, bottleneck: Tensor, task: Tensor) -> ConditioningOutput:
        return plain(bottleneck.expand(task.shape[0], -1, -1, -1, -1))
