"""UniSeg's task prompt at every stage of the decoder, not at the bottleneck alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from uniseg.models.conditioning.base import ConditioningOutput, StageCondition
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.task import TaskSet


class PromptPyramid(FusePrompt):
    """As ``FusePrompt``, and the task prompt is one more input of the first convolution of every decoder stage.

    That convolution reads [upsampled, skip, prompt]; it is linear, so that its skip half stays free of the task and is
    shared at prediction. The prompt is interpolated to the stage's size and read by weights of 1x1x1: over a map that
    smooth a kernel of 3x3x3 would see little more, at 27 times the operations. New weights give the prompt the size of
    all other inputs together, at every stage; at the bottleneck alone it is one channel of hundreds ahead of a norm.

    Args:
        channels, tasks, size, options: of ``FusePrompt``, whose place is the bottleneck.

    Examples:
        >>> settings = {"hidden_channels": None, "learned": True, "fuse": True}
        >>> pyramid = PromptPyramid(channels=8, tasks=["liver", "spleen"], size=(2, 4, 4), **settings)
        >>> pyramid.meet_decoder([4, 6], norms_per_stage=2)
        >>> [tuple(weight.shape) for weight in pyramid.stage_weights]
        [(4, 1), (6, 1)]
    """

    stage_weights: nn.ParameterList

    def __init__(self, *, channels: int, tasks: TaskSet, size: Sequence[int], **options: Any) -> None:
        super().__init__(channels=channels, tasks=tasks, size=size, place="bottleneck", **options)

    def meet_decoder(self, channels: Sequence[int], norms_per_stage: int) -> None:
        self.stage_weights = nn.ParameterList(torch.randn(width, 1) * 2**0.5 for width in channels)

    def prompt_weights(self) -> Sequence[Sequence[nn.Parameter]]:
        return [[weight] for weight in self.stage_weights]

    def _append_prompt(self, bottleneck: Tensor, prompt: Tensor) -> ConditioningOutput:
        stages = tuple(StageCondition(prompt, weight) for weight in self.stage_weights)
        return replace(super()._append_prompt(bottleneck, prompt), stages=stages)
