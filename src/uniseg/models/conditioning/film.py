"""The task as scale and shift of every norm of the decoder (FiLM, Perez et al., AAAI 2018)."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from uniseg.models.conditioning.base import Conditioning, ConditioningOutput, StageCondition, plain
from uniseg.task import TaskSet


class Film(Conditioning):
    """A vector per task is all scales and shifts of the decoder's norms; the bottleneck stays as it is.

    The vectors are 0 at first, so that the network starts as one that does not know the task. Nothing is shared between
    them: an added task brings a vector of its own, the old answers cannot move. A vector is 10 to 50 kB at full width.

    Args:
        lr_factor: on the learning rate of the vectors.

    Examples:
        >>> film = Film(channels=16, tasks=["liver", "spleen"], size=(2, 4, 4), lr_factor=1)
        >>> film.meet_decoder([4, 8], norms_per_stage=2)
        >>> film.vectors.shape
        torch.Size([2, 48])
    """

    changes_features = False

    vectors: nn.Parameter

    def __init__(self, *, channels: int, tasks: TaskSet, size: Sequence[int], lr_factor: float) -> None:
        super().__init__()
        self.out_channels = channels
        self.num_tasks, self.lr_factor = len(tasks), lr_factor
        self.widths: list[int] = []
        self.norms_per_stage = 0

    def meet_decoder(self, channels: Sequence[int], norms_per_stage: int) -> None:
        self.widths, self.norms_per_stage = list(channels), norms_per_stage
        self.vectors = nn.Parameter(torch.zeros(self.num_tasks, 2 * norms_per_stage * sum(channels)))

    def task_parameters(self) -> Iterable[nn.Parameter]:
        return [self.vectors]

    def added_parameters(self, state: nn.Module) -> Iterable[nn.Parameter]:
        return [state.vector]  # type: ignore[list-item]  # made by make_task_state

    def forward(self, bottleneck: Tensor, task: Tensor) -> ConditioningOutput:
        return self._modulate(bottleneck.expand(task.shape[0], -1, -1, -1, -1), self.vectors[task])

    def make_task_state(self) -> nn.Module:
        return AddedVector(self.vectors.shape[1])

    def forward_added_task(self, bottleneck: Tensor, state: nn.Module) -> ConditioningOutput:
        return self._modulate(bottleneck, state.vector.expand(bottleneck.shape[0], -1))

    def _modulate(self, bottleneck: Tensor, vectors: Tensor) -> ConditioningOutput:
        """``vectors [B,S]`` -> scale and shift of every norm of every stage."""
        stages = []
        for stage, width in zip(
            vectors.split([2 * self.norms_per_stage * width for width in self.widths], dim=1), self.widths, strict=True
        ):
            parts = stage.split(width, dim=1)
            stages.append(StageCondition(modulations=tuple(zip(parts[::2], parts[1::2], strict=True))))
        unchanged = plain(bottleneck)
        return ConditioningOutput(bottleneck, unchanged.task_code, unchanged.decoder_prompt, tuple(stages))


class AddedVector(nn.Module):
    """The vector ``[1,S]`` of an added task.

    Examples:
        >>> AddedVector(48).vector.shape
        torch.Size([1, 48])
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(1, length))
