"""A loss at every scale of the pyramid."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from uniseg.task import Task


class DeepSupervision(nn.Module):
    """Weighted sum of one loss over the scales; the label is down-sampled by nearest neighbour (nnU-Net's
    ``DownsampleSegForDSTransform``).

    Weights halve from scale to scale, the coarsest has none, their sum is 1 (nnU-Net's rule: 8/15, 4/15, 2/15, 1/15, 0
    for five scales).

    Examples:
        >>> scale_weights(3)
        [0.6666666666666666, 0.3333333333333333, 0.0]
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Sequence[Tensor], label: Tensor, tasks: Sequence[Task]) -> Tensor:
        """Logits finest first, ``label [B,Z,Y,X]`` of the finest size, one task per sample -> ``[B]``."""
        weights = scale_weights(len(logits))
        total = 0
        for scale, weight in zip(logits, weights, strict=True):
            if weight:
                total = total + weight * self.loss(scale, shrink(label, scale.shape[2:]), tasks)
        return total


def scale_weights(num_scales: int) -> list[float]:
    """Finest first; one scale alone has weight 1."""
    raw = [2.0**-i for i in range(max(num_scales - 1, 1))] + [0.0] * (num_scales > 1)
    return [weight / sum(raw) for weight in raw]


def shrink(label: Tensor, size: Sequence[int]) -> Tensor:
    """``[B,Z,Y,X]`` by nearest neighbour, integers kept: the voxel in the middle of those that one coarse voxel covers,
    not their corner.
    """
    if label.shape[1:] == tuple(size):
        return label
    if all(n % m == 0 for n, m in zip(label.shape[1:], size, strict=True)):
        steps = [n // m for n, m in zip(label.shape[1:], size, strict=True)]
        return label[(slice(None), *(slice(step // 2, None, step) for step in steps))].contiguous()
    return F.interpolate(label[:, None].float(), tuple(size), mode="nearest-exact")[:, 0].to(label.dtype)
