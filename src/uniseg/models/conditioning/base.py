"""The contract of a conditioning."""

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
