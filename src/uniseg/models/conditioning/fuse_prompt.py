"""UniSeg's conditioning: universal prompt, FUSE, task prompt (MICCAI 2023, section 2.2)."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uniseg.errors import InputError
from uniseg.models.blocks import NEGATIVE_SLOPE, conv_block
from uniseg.models.conditioning.base import Conditioning, ConditioningOutput, plain
from uniseg.task import TaskSet

PLACES = ("bottleneck", "decoder")


class FusePrompt(Conditioning):
    """A universal prompt ``[1,T,z,y,x]`` is fused with the bottleneck into one map per task; a sample keeps one.

    FUSE is three convolution blocks over cat[bottleneck, universal prompt]. The task prompt is appended to the
    bottleneck as its last channel. The universal prompt is interpolated where a window's bottleneck has another size.

    Args:
        hidden_channels: width of FUSE; None: (C + T) // 4, as published. A saved model carries the number.
        learned: False: the universal prompt stays as it was drawn.
        place: where the task prompt enters; ``decoder``: at its end, before the head, at every scale.
        fuse: False: a task's prompt is its row of the universal prompt, whatever the image.
        last_norm: False: no instance norm after FUSE's last convolution, which gives every prompt of every image the
            same mean and variance.
        padding: of FUSE's convolutions, ``zeros`` or ``replicate``; see ``UNetEncoder``'s ``bottleneck_padding``.
        lr_factor: on the learning rate of the universal prompt.

    Raises:
        InputError: ``place`` is neither of the two.

    Examples:
        >>> settings = {"hidden_channels": None, "learned": True, "place": "bottleneck", "fuse": True}
        >>> FusePrompt(channels=8, tasks=["liver", "spleen"], size=(2, 4, 4), **settings).out_channels
        9
    """

    universal_prompt: Tensor

    def __init__(
        self,
        *,
        channels: int,
        tasks: TaskSet,
        size: Sequence[int],
        hidden_channels: int | None,
        learned: bool,
        place: str,
        fuse: bool,
        last_norm: bool = True,
        padding: str = "zeros",
        lr_factor: float = 1.0,
    ) -> None:
        super().__init__()
        if place not in PLACES:
            raise InputError("conditioning.place", f"'{place}'", f"one of {', '.join(PLACES)}", "correct the name")
        num_tasks = len(tasks)
        self.sees_image, self.last_norm, self.padding, self.lr_factor = fuse, last_norm, padding, lr_factor
        self.hidden_channels = hidden_channels or (channels + num_tasks) // 4
        self.decoder_prompt_channels = int(place == "decoder")
        self.out_channels = channels + 1 - self.decoder_prompt_channels
        prompt = torch.randn(1, num_tasks, *size)
        if learned:
            self.universal_prompt = nn.Parameter(prompt)
        else:
            self.register_buffer("universal_prompt", prompt)
        widths = (channels + num_tasks, self.hidden_channels, self.hidden_channels)
        blocks = [conv_block(a, b, kernel=(3, 3, 3), padding=padding) for a, b in pairwise(widths)]
        last = make_last_block(self.hidden_channels, num_tasks, norm=last_norm, padding=padding)
        self.fuse = nn.Sequential(*blocks, last) if fuse else None

    def settings(self) -> dict:
        return {"hidden_channels": self.hidden_channels}

    def task_parameters(self) -> Iterable[nn.Parameter]:
        return [self.universal_prompt] if isinstance(self.universal_prompt, nn.Parameter) else []

    def added_parameters(self, state: nn.Module) -> Iterable[nn.Parameter]:
        return [state.prompt]  # type: ignore[list-item]  # made by make_task_state

    def task_prompts(self, bottleneck: Tensor) -> Tensor:
        """``[B,C,z,y,x]`` -> the prompts of all tasks, ``[B,T,z,y,x]``."""
        prompt = resize_prompt(self.universal_prompt, bottleneck)
        return prompt if self.fuse is None else self.fuse(torch.cat([bottleneck, prompt], dim=1))

    def universal_rows(self) -> Tensor:
        return self.universal_prompt[0].detach()

    def forward(self, bottleneck: Tensor, task: Tensor) -> ConditioningOutput:
        prompts = self.task_prompts(bottleneck).expand(task.shape[0], -1, -1, -1, -1)
        prompt = prompts.gather(1, task[:, None, None, None, None].expand(-1, 1, *prompts.shape[2:]))
        return self._append_prompt(bottleneck.expand(task.shape[0], -1, -1, -1, -1), prompt)

    def make_task_state(self) -> nn.Module:
        hidden_channels = self.hidden_channels if self.fuse is not None else None
        return AddedPrompt(self.universal_prompt.shape[2:], hidden_channels, self.last_norm, self.padding)

    def added_task_prompt(self, bottleneck: Tensor, state: nn.Module) -> Tensor:
        """The first two blocks of FUSE see the added prompt beside the old ones; the last is that of the task."""
        prompt = resize_prompt(state.prompt, bottleneck)
        if self.fuse is None:
            return prompt
        first, second, _ = self.fuse
        old = first.conv(torch.cat([bottleneck, resize_prompt(self.universal_prompt, bottleneck)], dim=1))
        return state.leave(second(first.adn(old + state.enter(prompt))))

    def forward_added_task(self, bottleneck: Tensor, state: nn.Module) -> ConditioningOutput:
        return self._append_prompt(bottleneck, self.added_task_prompt(bottleneck, state))

    def _append_prompt(self, bottleneck: Tensor, prompt: Tensor) -> ConditioningOutput:
        if self.decoder_prompt_channels:
            return ConditioningOutput(bottleneck, bottleneck.new_zeros(bottleneck.shape[0], 0), prompt)
        return plain(torch.cat([bottleneck, prompt], dim=1))


class AddedPrompt(nn.Module):
    """The prompt ``[1,1,z,y,x]`` of an added task, with its way into FUSE and out of it.

    Args:
        size: z, y, x of the universal prompt.
        hidden_channels: width of FUSE; None: there is none.
        last_norm, padding: of FUSE.

    Examples:
        >>> AddedPrompt((2, 4, 4), hidden_channels=2).prompt.shape
        torch.Size([1, 1, 2, 4, 4])
    """

    def __init__(
        self, size: Sequence[int], hidden_channels: int | None, last_norm: bool = True, padding: str = "zeros"
    ) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.randn(1, 1, *size))
        if hidden_channels is not None:
            self.enter = nn.Conv3d(1, hidden_channels, 3, padding=1, bias=False, padding_mode=padding)
            self.leave = make_last_block(hidden_channels, 1, norm=last_norm, padding=padding)


def make_last_block(in_channels: int, out_channels: int, *, norm: bool, padding: str) -> nn.Module:
    """FUSE's last convolution block; without its norm the convolution and the leaky ReLU stay."""
    block = conv_block(in_channels, out_channels, kernel=(3, 3, 3), padding=padding)
    return block if norm else nn.Sequential(OrderedDict(conv=block.conv, act=nn.LeakyReLU(NEGATIVE_SLOPE)))


def resize_prompt(prompt: Tensor, bottleneck: Tensor) -> Tensor:
    """``prompt`` in the size, type and number of samples of ``bottleneck``."""
    if prompt.shape[2:] != bottleneck.shape[2:]:
        prompt = F.interpolate(prompt, bottleneck.shape[2:], mode="trilinear")
    return prompt.to(bottleneck.dtype).expand(bottleneck.shape[0], -1, -1, -1, -1)
