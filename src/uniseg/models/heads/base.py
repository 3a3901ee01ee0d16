"""The contract of a head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Turns the pyramid into class logits.

    Every head is built with ``channels`` (of the pyramid, finest first) and ``num_classes`` (one number per task),
    beside its own settings.
    """

    def forward(self, pyramid: Sequence[Tensor], task: Tensor, num_classes: Sequence[int]) -> list[Tensor]:
        """Pyramid, ``task [B]``, the B class counts -> logits, finest first, each ``[B,K,Z,Y,X]`` float32.

        K is the widest task in the batch; rows beyond a sample's own classes are -inf.
        """
        raise NotImplementedError


def mask_surplus(logits: Tensor, num_classes: Sequence[int]) -> Tensor:
    """``[B,K,Z,Y,X]`` in float32 with -inf in the rows beyond each sample's own classes."""
    logits = logits.float()
    if min(num_classes) == logits.shape[1]:
        return logits
    own = torch.tensor(num_classes, device=logits.device)
    surplus = torch.arange(logits.shape[1], device=logits.device) >= own[:, None]
    return logits.masked_fill(surplus[:, :, None, None, None], float("-inf"))
