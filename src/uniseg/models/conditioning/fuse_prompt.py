"""UniSeg's conditioning: universal prompt, FUSE, task prompt (MICCAI 2023, section 2.2)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uniseg.models.blocks import conv_block
from uniseg.models.conditioning.base import Conditioning


class FusePrompt(Conditioning):
    """A learnable universal prompt ``[1,T,z,y,x]`` is fused with the bottleneck into one map per task; a sample keeps its own.

    FUSE is three convolution blocks over cat[bottleneck, universal prompt]. The task prompt is appended to the
    bottleneck as its last channel. The universal prompt is interpolated where a window's bottleneck has another size.

    Args:
        hidden_channels: width of FUSE; None: (C + T) // 4, as published. A saved model carries the number.
    """

    def __init__(self, *, channels: int, num_tasks: int, size: Sequence[int], hidden_channels: int | None) -> None:
        super().__init__()
        self.hidden_channels = hidden_channels or (channels + num_tasks) // 4
        self.out_channels = channels + 1
        self.universal_prompt = nn.Parameter(torch.randn(1, num_tasks, *size))
        widths = (channels + num_tasks, self.hidden_channels, self.hidden_channels, num_tasks)
        self.fuse = nn.Sequential(*(conv_block(a, b, kernel=(3, 3, 3)) for a, b in pairwise(widths)))

    def settings(self) -> dict:
        return {"hidden_channels": self.hidden_channels}

    def task_prompts(self, bottleneck: Tensor) -> Tensor:
        """``[B,C,z,y,x]`` -> the prompts of all tasks, ``[B,T,z,y,x]``."""
        prompt = self.universal_prompt
        if prompt.shape[2:] != bottleneck.shape[2:]:
            prompt = F.interpolate(prompt, bottleneck.shape[2:], mode="trilinear")
        return self.fuse(torch.cat([bottleneck, prompt.to(bottleneck.dtype).expand(len(bottleneck), -1, -1, -1, -1)], dim=1))

    def universal_rows(self) -> Tensor:
        return self.universal_prompt[0].detach()

    def forward(self, bottleneck: Tensor, task: Tensor) -> Tensor:
        prompts = self.task_prompts(bottleneck).expand(len(task), -1, -1, -1, -1)
        own = prompts[torch.arange(len(task), device=task.device), task].unsqueeze(1)
        return torch.cat([bottleneck.expand(len(task), -1, -1, -1, -1), own], dim=1)
