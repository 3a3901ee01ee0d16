"""The contract of a conditioning."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Conditioned:
    """What a conditioning tells the rest of the network of the task that is asked.

    Attributes:
        features: ``[B,C',z,y,x]``, the bottleneck for the decoder.
        code: ``[B,D]`` for a head that writes its kernels; D may be 0.
        late: ``[B,L,z,y,x]``, appended to every level of the pyramid; L may be 0.
    """

    features: Tensor
    code: Tensor
    late: Tensor


class Conditioning(nn.Module):
    """Tells the network which task is asked.

    Every conditioning is built with ``channels`` (C of the bottleneck), ``tasks`` (a TaskSet) and ``size`` (z, y, x of
    the bottleneck at the training patch), beside its own settings.

    Attributes:
        out_channels, code_channels, late_channels: C', D, L of what ``forward`` returns.
    """

    out_channels: int
    code_channels: int = 0
    late_channels: int = 0

    def settings(self) -> dict:
        """Constructor arguments whose values were derived, so that a saved model is rebuilt with the same."""
        return {}

    def forward(self, bottleneck: Tensor, task: Tensor) -> Conditioned:
        """``bottleneck [B or 1,C,z,y,x]``, ``task [B]`` -> ``Conditioned`` of B samples."""
        raise NotImplementedError

    def task_prompts(self, bottleneck: Tensor) -> Tensor:
        """The prompts of all tasks ``[B,T,z,y,x]``; ``[B,0,z,y,x]`` where a conditioning has none."""
        return bottleneck[:, :0]

    def universal_rows(self) -> Tensor:
        """What the task prompts are fused from, a row per task that the network was made for ``[T,z,y,x]``;

        T is 0 where there is none.
        """
        return torch.zeros(0, 1, 1, 1)

    def make_own(self) -> nn.Module:
        """The weights that a task brings which is added to a trained network."""
        return nn.Identity()

    def own_prompt(self, bottleneck: Tensor, own: nn.Module) -> Tensor:
        """The prompt of an added task ``[B,1,z,y,x]``; ``[B,0,z,y,x]`` where a conditioning has none."""
        return bottleneck[:, :0]

    def forward_own(self, bottleneck: Tensor, own: nn.Module) -> Conditioned:
        """As ``forward``, for samples of the added task whose weights are ``own``."""
        return plain(bottleneck)


def plain(features: Tensor) -> Conditioned:
    """Features with neither code nor late prompt."""
    return Conditioned(features, features.new_zeros(len(features), 0), features[:, :0])
