"""The contract of a conditioning."""

import torch
from torch import Tensor, nn


class Conditioning(nn.Module):
    """Tells the bottleneck which task is asked.

    Every conditioning is built with ``channels`` (C of the bottleneck), ``num_tasks`` and ``size`` (z, y, x of the
    bottleneck at the training patch), beside its own settings.

    Attributes:
        out_channels: C of what ``forward`` returns.
    """

    out_channels: int

    def settings(self) -> dict:
        """Constructor arguments whose values were derived, so that a saved model is rebuilt with the same."""
        return {}

    def forward(self, bottleneck: Tensor, task: Tensor) -> Tensor:
        """``bottleneck [B or 1,C,z,y,x]``, ``task [B]`` -> ``[B,out_channels,z,y,x]``."""
        raise NotImplementedError

    def task_prompts(self, bottleneck: Tensor) -> Tensor:
        """The prompts of all tasks ``[B,T,z,y,x]``; ``[B,0,z,y,x]`` where a conditioning has none."""
        return bottleneck[:, :0]

    def universal_rows(self) -> Tensor:
        """What the task prompts are fused from, a row per task ``[T,z,y,x]``; T is 0 where a conditioning has none."""
        return torch.zeros(0, 1, 1, 1)
