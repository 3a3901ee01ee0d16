"""Several conditionings at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn

from uniseg.errors import InputError
from uniseg.models.conditioning.base import Conditioning, ConditioningOutput, StageCondition
from uniseg.models.factories import describe_factory
from uniseg.task import TaskSet


class Combined(Conditioning):
    """Every part sees the encoder's bottleneck; what they return is joined.

    Args:
        parts: by name, each called as a conditioning is; at most one may change the features.

    Raises:
        InputError: no part, or more than one that changes the features.

    Examples:
        >>> from functools import partial
        >>> from uniseg.models.conditioning.film import Film
        >>> from uniseg.models.conditioning.one_hot import OneHot
        >>> parts = {"film": partial(Film, lr_factor=1), "code": OneHot}
        >>> Combined(channels=8, tasks=["liver", "spleen"], size=(2, 4, 4), parts=parts).task_code_channels
        2
    """

    def __init__(
        self, *, channels: int, tasks: TaskSet, size: Sequence[int], parts: Mapping[str, Callable[..., Conditioning]]
    ) -> None:
        super().__init__()
        self.descriptions = {name: describe_factory(part) for name, part in parts.items()}
        made = {name: part(channels=channels, tasks=tasks, size=size) for name, part in parts.items()}
        self.parts = nn.ModuleDict(made)
        changing = [name for name, part in made.items() if part.changes_features]
        if not parts or len(changing) > 1:
            found = f"the parts {', '.join(changing)}" if parts else "no part"
            expected = "one or more parts, of which at most one changes the bottleneck"
            raise InputError("conditioning.parts", found, expected, "leave one out")
        self.changing = changing[0] if changing else None
        self.sees_image = any(part.sees_image for part in made.values())
        self.out_channels = made[self.changing].out_channels if self.changing else channels
        self.task_code_channels = sum(part.task_code_channels for part in made.values())
        self.decoder_prompt_channels = sum(part.decoder_prompt_channels for part in made.values())

    def settings(self) -> dict:
        return {"parts": {name: self.descriptions[name] | part.settings() for name, part in self._parts()}}

    def meet_decoder(self, channels: Sequence[int], norms_per_stage: int) -> None:
        for _, part in self._parts():
            part.meet_decoder(channels, norms_per_stage)

    def prompt_weights(self) -> Sequence[Sequence[nn.Parameter]]:
        by_part = [weights for _, part in self._parts() if (weights := part.prompt_weights())]
        return [[weight for weights in stage for weight in weights] for stage in zip(*by_part, strict=True)]

    def lr_factors(self) -> dict[nn.Parameter, float]:
        return {parameter: factor for _, part in self._parts() for parameter, factor in part.lr_factors().items()}

    def added_lr_factors(self, state: nn.Module) -> dict[nn.Parameter, float]:
        by_part = [part.added_lr_factors(_state_of(state, name)) for name, part in self._parts()]
        return {parameter: factor for factors in by_part for parameter, factor in factors.items()}

    def task_prompts(self, bottleneck: Tensor) -> Tensor:
        return torch.cat([part.task_prompts(bottleneck) for _, part in self._parts()], dim=1)

    def universal_rows(self) -> Tensor:
        rows = [rows for _, part in self._parts() if len(rows := part.universal_rows())]
        return rows[0] if rows else super().universal_rows()

    def forward(self, bottleneck: Tensor, task: Tensor) -> ConditioningOutput:
        return self._join({name: part(bottleneck, task) for name, part in self._parts()}, bottleneck)

    def make_task_state(self) -> nn.Module:
        return nn.ModuleDict({name: part.make_task_state() for name, part in self._parts()})

    def added_task_prompt(self, bottleneck: Tensor, state: nn.Module) -> Tensor:
        prompts = [part.added_task_prompt(bottleneck, _state_of(state, name)) for name, part in self._parts()]
        return torch.cat(prompts, dim=1)

    def forward_added_task(self, bottleneck: Tensor, state: nn.Module) -> ConditioningOutput:
        outputs = {name: part.forward_added_task(bottleneck, _state_of(state, name)) for name, part in self._parts()}
        return self._join(outputs, bottleneck)

    def _join(self, outputs: Mapping[str, ConditioningOutput], bottleneck: Tensor) -> ConditioningOutput:
        features = outputs[self.changing or next(iter(outputs))].features
        stages = zip_longest(*(output.stages for output in outputs.values() if output.stages))
        return ConditioningOutput(
            features,
            torch.cat([output.task_code for output in outputs.values()], dim=1),
            torch.cat([output.decoder_prompt for output in outputs.values()], dim=1),
            tuple(join_stage(conditions) for conditions in stages),
        )

    def _parts(self) -> Iterator[tuple[str, Conditioning]]:
        yield from self.parts.items()  # type: ignore[misc]  # a ModuleDict says only that its values are modules


def join_stage(conditions: Sequence[StageCondition]) -> StageCondition:
    """What one stage learns from several conditionings: all prompts side by side, the modulations one after another."""
    pairs = [(each.prompt, each.prompt_weight) for each in conditions if each.prompt is not None]
    prompts, weights = [prompt for prompt, _ in pairs], [weight for _, weight in pairs if weight is not None]
    modulations: tuple[tuple[Tensor, Tensor], ...] = ()
    for each in conditions:
        if modulations and each.modulations:
            modulations = tuple(
                (scale + factor + scale * factor, shift + shift * factor + added)
                for (scale, shift), (factor, added) in zip(modulations, each.modulations, strict=True)
            )
        else:
            modulations = modulations or each.modulations
    return StageCondition(
        torch.cat(prompts, dim=1) if prompts else None, torch.cat(weights, dim=1) if weights else None, modulations
    )


def _state_of(state: nn.Module, name: str) -> nn.Module:
    return state[name]  # type: ignore[index]  # made by make_task_state
