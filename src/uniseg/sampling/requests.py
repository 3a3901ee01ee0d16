"""Which patches make up step k: a pure function of (seed, step)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import floor
from numbers import Real
from typing import Any

import numpy as np

from uniseg.errors import InputError
from uniseg.pretext.base import Objective
from uniseg.sampling.augment.recipe import AugmentDraw, AugmentRecipe
from uniseg.sampling.settings import StreamSettings
from uniseg.task import Task


@dataclass(frozen=True)
class PatchRequest:
    """One sample of a batch, before anything is read.

    Attributes:
        task: index in the TaskSet.
        seed: of every choice that needs the case itself (which class, which voxel) and of the noise.
        force_foreground: centre the patch on a foreground voxel.
        augmentation: None where the patch is taken as it is.
        step: of the batch in the run.
        batch_index: in the batch.
        pretext: what the objective of a pretext task drew; None for a segmentation.
        partner: the second patch of a pretext sample, where its objective needs one.
        loss_weight: of the sample.

    Examples:
        >>> stream = RequestStream([TaskCases("liver", ("a", "b"), (False,))], StreamSettings(), None, seed=0)
        >>> stream.batch(step=7)[0].step
        7
    """

    task: int
    case_id: str
    seed: int
    force_foreground: bool
    augmentation: AugmentDraw | None
    step: int
    batch_index: int
    pretext: Any = field(default=None, repr=False)
    partner: "PatchRequest | None" = field(default=None, repr=False)
    loss_weight: float = field(default=1.0, repr=False)


@dataclass(frozen=True)
class TaskCases:
    """What the stream must know of a task.

    Attributes:
        case_ids: of one split, in a fixed order.
        optional, masked: per modality whether a case may lack it, whether it is normalised inside the body.
        pretext: the task with its objective, where it is a pretext task.
        loss_weights: of cases whose loss does not count 1.

    Examples:
        >>> TaskCases("brain", ("a", "b"), optional=(False, True)).masked
        ()
    """

    name: str
    case_ids: tuple[str, ...]
    optional: tuple[bool, ...]
    masked: tuple[bool, ...] = ()
    pretext: tuple[Task, Objective] | None = None
    loss_weights: Mapping[str, float] = field(default_factory=dict)


class RequestStream:
    """The global batches of a run.

    Tasks come in rounds of one epoch: a round holds each task as often as ``round_counts`` says and is a permutation
    seeded by (seed, round); cases are drawn with replacement inside the task.

    Args:
        tasks: in TaskSet order.
        settings: of which ``steps_per_epoch`` is the length of a round, in steps.
        recipe: None: no augmentation.
        seed: of the whole stream.

    Raises:
        InputError: a task without cases, or weights that do not fit the tasks.

    Examples:
        >>> liver = TaskCases("liver", ("a", "b"), optional=(False,))
        >>> stream = RequestStream([liver], StreamSettings(batch_size=2), None, seed=0)
        >>> stream.batch(step=3) == stream.batch(step=3), len(stream.batch(step=3))
        (True, 2)
    """

    def __init__(
        self, tasks: Sequence[TaskCases], settings: StreamSettings, recipe: AugmentRecipe | None, seed: int
    ) -> None:
        self.weights = weights_of(settings.task_weights, tasks)
        for task, weight in zip(tasks, self.weights, strict=True):
            if not task.case_ids and weight:
                raise InputError(
                    f"task '{task.name}'", "no case", "at least one", "prepare the task or take it out of the list"
                )
        self.tasks = tuple(tasks)
        self.batch_size, self.patch_size = settings.batch_size, settings.patch_size
        self.draws_per_batch = min(settings.tasks_per_batch or settings.batch_size, settings.batch_size)
        self.round_length = settings.steps_per_epoch * self.draws_per_batch
        self.foreground_fraction = settings.foreground_fraction
        self.recipe = recipe
        self.seed = seed
        self.phases = (np.random.default_rng([seed, 2]).permutation(len(tasks)) + 0.5) / len(tasks)
        self._round = lru_cache(maxsize=2)(self._make_round)

    def batch(self, step: int) -> list[PatchRequest]:
        """The global batch of step ``step``."""
        return [self._request(step, batch_index) for batch_index in range(self.batch_size)]

    def _make_round(self, number: int) -> np.ndarray:
        counts = round_counts(self.weights, self.phases, number, self.round_length)
        return np.random.default_rng([self.seed, 0, number]).permutation(np.repeat(np.arange(len(counts)), counts))

    def _first_forced(self, step: int) -> int:
        rounded = round(self.batch_size * (1 - self.foreground_fraction))
        if 0 < rounded < self.batch_size:
            return rounded
        per_step = self.batch_size * self.foreground_fraction
        return self.batch_size - (floor((step + 1) * per_step) - floor(step * per_step))

    def _request(self, step: int, batch_index: int) -> PatchRequest:
        slot = step * self.draws_per_batch + batch_index * self.draws_per_batch // self.batch_size
        number, index = divmod(slot, self.round_length)
        task = int(self._round(number)[index])
        rng = np.random.default_rng([self.seed, 1, step, batch_index])
        request = self._patch(rng, task, step, batch_index)
        pretext = self.tasks[task].pretext
        return request if pretext is None else self._as_pretext(rng, request, *pretext)

    def _patch(self, rng: np.random.Generator, task: int, step: int, batch_index: int) -> PatchRequest:
        cases = self.tasks[task].case_ids
        case_id = cases[rng.integers(len(cases))]
        return PatchRequest(
            task=task,
            case_id=case_id,
            seed=int(rng.integers(2**62)),
            force_foreground=batch_index >= self._first_forced(step),
            augmentation=self.recipe and self.recipe.draw(rng, self.tasks[task].optional, self.tasks[task].masked),
            step=step,
            batch_index=batch_index,
            loss_weight=self.tasks[task].loss_weights.get(case_id, 1.0),
        )

    def _as_pretext(
        self, rng: np.random.Generator, request: PatchRequest, task: Task, objective: Objective
    ) -> PatchRequest:
        drawn = objective.draw(rng, task, self.patch_size)
        place = (request.task, request.step, request.batch_index)
        return replace(request, pretext=drawn, partner=self._patch(rng, *place) if objective.needs_partner else None)


def weights_of(rule: str | float | Mapping[str, float], tasks: Sequence[TaskCases]) -> np.ndarray:
    """Relative weight per task.

    ``equal``: the published behaviour. ``by_cases``: the number of cases. A number T: cases to the power of 1/T (a
    temperature: 1 is ``by_cases``, infinity is ``equal``). A mapping: by name, 1 where not named, 0 leaves a task out.

    Raises:
        InputError: an unknown word or name, a number that is not positive, weights that are negative, not finite or all
            0.
    """
    where, fix = "data.task_weights", "correct the value"
    if isinstance(rule, Mapping):
        unknown = set(rule) - {task.name for task in tasks}
        if unknown:
            raise InputError(
                where,
                f"'{sorted(map(str, unknown))[0]}'",
                f"one of {[task.name for task in tasks]}",
                "correct the name",
            )
        values = [rule.get(task.name, 1.0) for task in tasks]
        if not all(isinstance(value, Real) for value in values):
            raise InputError(where, f"{values}", "a number per task", fix)
        weights = np.array(values, dtype=float)
    else:
        temperature = {"equal": float("inf"), "by_cases": 1.0}.get(rule) if isinstance(rule, str) else rule
        if not isinstance(temperature, Real) or not temperature > 0:
            raise InputError(where, f"'{rule}'", "equal, by_cases, a temperature above 0, or a weight per task", fix)
        with np.errstate(over="ignore"):
            weights = np.array([float(len(task.case_ids)) for task in tasks]) ** (1 / temperature)
    if not (np.isfinite(weights).all() and weights.min() >= 0 and 0 < weights.sum() < np.inf):
        raise InputError(
            where, f"{weights.tolist()}", "positive numbers, or 0 for tasks to leave out", "correct the weights"
        )
    return weights


def round_counts(weights: np.ndarray, phases: np.ndarray, number: int, length: int) -> np.ndarray:
    """How often each task is drawn in round ``number`` of ``length`` draws.

    Draw j of a task is due at (j + phase) / weight. A run takes all draws in that order, a round the next ``length`` of
    them. So over rounds every task keeps its fraction, however small, and what does not divide goes round by the
    phases; where all fractions of a round are whole, each round holds just them.

    Args:
        weights: relative, ``[K]``.
        phases: above 0, below 1, different for each task, ``[K]``.
    """
    fractions = weights / weights.sum()
    # By draw n, between n - K and n + K draws are due, in any order of the phases.
    bounds = (max(number * length - len(fractions), 0), (number + 1) * length + len(fractions))
    first, last = (np.ceil(bound * fractions - phases).astype(np.int64) for bound in bounds)
    task = np.repeat(np.arange(len(fractions)), last - first)
    nth = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    in_turn = task[np.argsort((nth + phases[task]) / fractions[task], kind="stable")]
    skipped = number * length - int(first.sum())
    return np.bincount(in_turn[skipped : skipped + length], minlength=len(fractions))
