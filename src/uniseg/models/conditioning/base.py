"""The contract of a conditioning."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class StageCondition:
    """What one decoder stage learns of the task of each sample. Its skip half never does, so that it is shared.

    Attributes:
        prompt: ``[B,L,z,y,x]``, one more input of the stage's first convolution, in the size of the bottleneck.
        prompt_weight: ``[C,L]``, that convolution's 1x1x1 weights over the prompt.
        modulations: ``(scale, shift)`` of every norm of the stage, ``[B,C]`` each; what a norm gives is multiplied by
            ``1 + scale``, then ``shift`` is added.

    Examples:
        >>> StageCondition(prompt=torch.ones(1, 1, 2, 2, 2), prompt_weight=torch.ones(4, 1)).modulations
        ()
    """

    prompt: Tensor | None = None
    prompt_weight: Tensor | None = None
    modulations: tuple[tuple[Tensor, Tensor], ...] = ()


@dataclass(frozen=True)
class ConditioningOutput:
    """What the rest of the network learns of the task of each sample.

    Attributes:
        features: ``[B,C',z,y,x]``, the bottleneck for the decoder.
        task_code: ``[B,D]`` for a head that writes its kernels; D may be 0.
        decoder_prompt: ``[B,L,z,y,x]``, appended to every level of the pyramid; L may be 0.
        stages: one per decoder stage, finest first; empty where the task does not enter there.

    Examples:
        >>> ConditioningOutput(torch.ones(1, 8, 2, 2, 2), torch.zeros(1, 0), torch.zeros(1, 0, 2, 2, 2)).features.shape
        torch.Size([1, 8, 2, 2, 2])
    """

    features: Tensor
    task_code: Tensor
    decoder_prompt: Tensor
    stages: tuple[StageCondition, ...] = ()


class Conditioning(nn.Module):
    """Tells the network the task of each sample.

    Every conditioning is built with ``channels`` (C of the bottleneck), ``tasks`` (a TaskSet) and ``size`` (z, y, x of
    the bottleneck at the training patch), beside its own settings.

    Attributes:
        knows_task: whether what it returns depends on the task.
        writes_task_code: whether D is above 0, so that it goes with a head that reads the code.
        changes_features: whether the features that it returns are others than the bottleneck.
        lr_factor: on the learning rate of ``task_parameters`` and ``added_parameters``.
        sees_image: whether its task prompts are made from the image too.
        out_channels, task_code_channels, decoder_prompt_channels: C', D, L of what ``forward`` returns.

    Examples:
        >>> Conditioning().task_prompts(torch.zeros(1, 8, 2, 2, 2)).shape
        torch.Size([1, 0, 2, 2, 2])
    """

    knows_task: ClassVar[bool] = True
    writes_task_code: ClassVar[bool] = False
    changes_features: ClassVar[bool] = True

    lr_factor: float = 1.0
    sees_image: bool = False
    out_channels: int
    task_code_channels: int = 0
    decoder_prompt_channels: int = 0

    def settings(self) -> dict:
        """Constructor arguments whose values were derived, so that a saved model is rebuilt with the same."""
        return {}

    def meet_decoder(self, channels: Sequence[int], norms_per_stage: int) -> None:
        """Make what depends on the decoder: widths of its stages, finest first, and the norms of each.

        Called once, before weights are initialised.
        """

    def prompt_weights(self) -> Sequence[Sequence[nn.Parameter]]:
        """By decoder stage, finest first: the weights over what ``StageCondition.prompt`` adds ahead of its norm."""
        return ()

    def task_parameters(self) -> Iterable[nn.Parameter]:
        """Those that belong to single tasks, such as prompts: what ``lr_factor`` is for."""
        return ()

    def added_parameters(self, state: nn.Module) -> Iterable[nn.Parameter]:
        """As ``task_parameters``, of an added task whose weights are ``state``."""
        return ()

    def added_lr_factors(self, state: nn.Module) -> dict[nn.Parameter, float]:
        """As ``lr_factors``, of an added task whose weights are ``state``."""
        return dict.fromkeys(self.added_parameters(state), self.lr_factor) if self.lr_factor != 1 else {}

    def lr_factors(self) -> dict[nn.Parameter, float]:
        """Factors on the learning rate of single parameters; those that are not named have 1."""
        return dict.fromkeys(self.task_parameters(), self.lr_factor) if self.lr_factor != 1 else {}

    def forward(self, bottleneck: Tensor, task: Tensor) -> ConditioningOutput:
        """``bottleneck [B or 1,C,z,y,x]``, ``task [B]`` -> ``ConditioningOutput`` of B samples."""
        raise NotImplementedError

    def task_prompts(self, bottleneck: Tensor) -> Tensor:
        """The prompts of all tasks ``[B,T,z,y,x]``; ``[B,0,z,y,x]`` where a conditioning has none."""
        return bottleneck[:, :0]

    def universal_rows(self) -> Tensor:
        """What the task prompts are fused from, a row per task that the network was made for ``[T,z,y,x]``;

        T is 0 where there is none.
        """
        return torch.zeros(0, 1, 1, 1)

    def make_task_state(self) -> nn.Module:
        """The weights that a task brings when it is added to a trained network."""
        return nn.Identity()

    def added_task_prompt(self, bottleneck: Tensor, state: nn.Module) -> Tensor:
        """The prompt of an added task ``[B,1,z,y,x]``; ``[B,0,z,y,x]`` where a conditioning has none."""
        return bottleneck[:, :0]

    def forward_added_task(self, bottleneck: Tensor, state: nn.Module) -> ConditioningOutput:
        """As ``forward``, for samples of the added task whose weights are ``state``."""
        return plain(bottleneck)


def plain(features: Tensor) -> ConditioningOutput:
    """Features with neither task code nor decoder prompt."""
    return ConditioningOutput(features, features.new_zeros(features.shape[0], 0), features[:, :0])
