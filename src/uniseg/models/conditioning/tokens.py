"""Task tokens that attend to the bottleneck, so that nothing of a task is tied to the size of the patch."""

from collections.abc import Iterable, Sequence
from math import sqrt

import torch
from torch import Tensor, nn

from uniseg.models.conditioning.base import Conditioning, ConditioningOutput, plain
from uniseg.task import TaskSet


class TaskTokens(Conditioning):
    """A token per task attends to the voxels of the bottleneck; what it found scales the bottleneck's channels.

    With keys ``k [B,D,z,y,x]``, a 1x1x1 convolution of the bottleneck, the task prompt of token ``q [D]`` is
    ``<q, k> / sqrt(D)`` at every voxel: it is made of the image, at any size of window. Softmax over voxels weighs the
    keys; the token plus their mean gives a factor per channel (a shift would be taken out by the next norm). The prompt
    is appended to the bottleneck as its last channel.

    Args:
        token_channels: D.
        lr_factor: on the learning rate of the tokens.

    Examples:
        >>> tokens = TaskTokens(channels=8, tasks=["liver", "spleen"], size=(2, 4, 4), token_channels=4, lr_factor=1)
        >>> tokens(torch.ones(1, 8, 3, 5, 7), torch.tensor([1])).features.shape
        torch.Size([1, 9, 3, 5, 7])
    """

    sees_image = True

    def __init__(
        self, *, channels: int, tasks: TaskSet, size: Sequence[int], token_channels: int, lr_factor: float
    ) -> None:
        super().__init__()
        self.out_channels, self.lr_factor = channels + 1, lr_factor
        self.tokens = nn.Parameter(torch.randn(len(tasks), token_channels))
        self.key = nn.Conv3d(channels, token_channels, 1, bias=False)
        self.gate = nn.Linear(token_channels, channels)

    def task_parameters(self) -> Iterable[nn.Parameter]:
        return [self.tokens]

    def added_parameters(self, state: nn.Module) -> Iterable[nn.Parameter]:
        return [state.token]  # type: ignore[list-item]  # made by make_task_state

    def task_prompts(self, bottleneck: Tensor) -> Tensor:
        keys = self.key(bottleneck)
        return torch.einsum("td,bdzyx->btzyx", self.tokens.to(keys.dtype), keys) / sqrt(self.tokens.shape[1])

    def universal_rows(self) -> Tensor:
        return self.tokens.detach()[:, :, None, None]

    def forward(self, bottleneck: Tensor, task: Tensor) -> ConditioningOutput:
        return self._attend(bottleneck.expand(task.shape[0], -1, -1, -1, -1), self.tokens[task])

    def make_task_state(self) -> nn.Module:
        return AddedToken(self.tokens.shape[1])

    def added_task_prompt(self, bottleneck: Tensor, state: nn.Module) -> Tensor:
        return self._prompt(self.key(bottleneck), state.token.expand(bottleneck.shape[0], -1))

    def forward_added_task(self, bottleneck: Tensor, state: nn.Module) -> ConditioningOutput:
        return self._attend(bottleneck, state.token.expand(bottleneck.shape[0], -1))

    def _prompt(self, keys: Tensor, tokens: Tensor) -> Tensor:
        """``keys [B,D,z,y,x]``, ``tokens [B,D]`` -> ``[B,1,z,y,x]``."""
        products = (keys * tokens.to(keys.dtype)[:, :, None, None, None]).sum(1, keepdim=True)
        return products / sqrt(tokens.shape[1])

    def _attend(self, bottleneck: Tensor, tokens: Tensor) -> ConditioningOutput:
        keys = self.key(bottleneck)
        prompt = self._prompt(keys, tokens)
        weights = prompt.flatten(1).softmax(1)
        found = (keys.flatten(2) * weights.to(keys.dtype)[:, None]).sum(2)
        factors = 1 + self.gate(tokens + found)
        scaled = bottleneck * factors.to(bottleneck.dtype)[:, :, None, None, None]
        return plain(torch.cat([scaled, prompt.to(scaled.dtype)], dim=1))


class AddedToken(nn.Module):
    """The token ``[1,D]`` of an added task.

    Examples:
        >>> AddedToken(4).token.shape
        torch.Size([1, 4])
    """

    def __init__(self, token_channels: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, token_channels))
