"""What tasks share of a window once it is encoded, and what a prompt adds to its pyramid."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from uniseg.device_copy import take_rows


@dataclass(frozen=True)
class Encoded:
    """What all tasks share of a window: bottleneck ``[B,C,z,y,x]`` and the skip terms of the decoder, finest first.

    Examples:
        >>> Encoded(torch.zeros(2, 8, 2, 2, 2), []).rows([1]).bottleneck.shape
        torch.Size([1, 8, 2, 2, 2])
    """

    bottleneck: Tensor
    skip_terms: list[Tensor]

    def rows(self, index: Sequence[int]) -> "Encoded":
        """The samples ``index``; a single one serves all."""
        if len(self.bottleneck) == 1:
            return self
        return Encoded(take_rows(self.bottleneck, index), [take_rows(term, index) for term in self.skip_terms])


def append_decoder_prompt(pyramid: list[Tensor], prompt: Tensor) -> list[Tensor]:
    """Every level with the prompt as its last channels."""
    if not prompt.shape[1]:
        return pyramid
    return [torch.cat([x, F.interpolate(prompt, x.shape[2:], mode="trilinear")], dim=1) for x in pyramid]
