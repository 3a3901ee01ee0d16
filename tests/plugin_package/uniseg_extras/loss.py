"""A loss: one number per sample from the logits of its own classes."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from uniseg.task import Task


class CrossEntropy(nn.Module):
    """The mean cross-entropy of a sample's voxels; for classes that exclude each other."""

    def forward(self, logits: Tensor, label: Tensor, tasks: Sequence[Task]) -> Tensor:
        per_voxel = F.cross_entropy(logits.float(), label.long(), reduction="none", ignore_index=-1)
        return per_voxel.flatten(1).mean(1)
