"""Which patches make up step k: a pure function of (seed, step)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from uniseg.errors import InputError
from uniseg.stream.augment.draws import AugmentDraw, AugmentRecipe, draw


@dataclass(frozen=True)
class PatchRequest:
    """One sample of a batch, before anything is read.

    Attributes:
        task: position in the TaskSet.
        seed: of every choice that needs the case itself (which class, which voxel) and of the noise.
        force_foreground: centre the patch on a foreground voxel.
        augmentation: None where the patch is taken as it is.
        step, place: of the batch in the run, in the batch.
    """

    task: int
    case_id: str
    seed: int
    force_foreground: bool
    augmentation: AugmentDraw | None
    step: int
    place: int


@dataclass(frozen=True)
class TaskCases:
    """What the stream must know of a task: its cases of one side, in a fixed order; per modality whether a case may lack it."""

    name: str
    case_ids: tuple[str, ...]
    optional: tuple[bool, ...]


class RequestStream:
    """The global batches of a run.

    Tasks come in rounds of one epoch: every round holds each task as often as its weight says and is a permutation
    seeded by (seed, round); cases are drawn with replacement inside the task.

    Args:
        tasks: in TaskSet order.
        steps_per_epoch: length of a round, in steps.
        batch_size: of the global batch.
        tasks_per_batch: how many tasks a batch draws; None: one draw per sample. 1 is the published behaviour.
        task_weights: see ``weights_of``.
        foreground_fraction: the last samples of a batch that are centred on foreground (nnU-Net: a third, rounded).
        recipe: None: no augmentation.
        seed: of the whole stream.

    Raises:
        InputError: a task without cases, weights that are unknown, negative or all 0.
    """

    def __init__(
        self,
        tasks: Sequence[TaskCases],
        *,
        steps_per_epoch: int,
        batch_size: int,
        tasks_per_batch: int | None,
        task_weights: str | float | Mapping[str, float],
        foreground_fraction: float,
        recipe: AugmentRecipe | None,
        seed: int,
    ) -> None:
        weights = weights_of(task_weights, tasks)
        for task, weight in zip(tasks, weights, strict=True):
            if not task.case_ids and weight:
                raise InputError(f"task '{task.name}'", "no case", "at least one", "prepare the task or take it out of the list")
        self.tasks = tuple(tasks)
        self.batch_size = batch_size
        self.draws_per_batch = min(tasks_per_batch or batch_size, batch_size)
        self.first_forced = round(batch_size * (1 - foreground_fraction))
        self.recipe = recipe
        self.seed = seed
        self._round = np.repeat(np.arange(len(tasks)), shares(weights, steps_per_epoch * self.draws_per_batch))
        self._permuted = lru_cache(maxsize=2)(lambda number: np.random.default_rng([seed, 0, number]).permutation(self._round))

    def batch(self, step: int) -> list[PatchRequest]:
        """The global batch of step ``step``."""
        return [self._request(step, place) for place in range(self.batch_size)]

    def _request(self, step: int, place: int) -> PatchRequest:
        slot = step * self.draws_per_batch + place * self.draws_per_batch // self.batch_size
        number, position = divmod(slot, len(self._round))
        task = int(self._permuted(number)[position])
        rng = np.random.default_rng([self.seed, 1, step, place])
        cases = self.tasks[task].case_ids
        return PatchRequest(
            task=task,
            case_id=cases[rng.integers(len(cases))],
            seed=int(rng.integers(2**62)),
            force_foreground=place >= self.first_forced,
            augmentation=draw(self.recipe, self.tasks[task].optional, rng) if self.recipe else None,
            step=step,
            place=place,
        )


def weights_of(rule: str | float | Mapping[str, float], tasks: Sequence[TaskCases]) -> np.ndarray:
    """Relative weight per task.

    ``equal``: the published behaviour. ``by_cases``: the number of cases. A number T: cases to the power of 1/T (a
    temperature: 1 is ``by_cases``, infinity is ``equal``). A mapping: by name, 1 where not named, 0 leaves a task out.

    Raises:
        InputError: an unknown word or name, a number that is not positive, weights that are negative or all 0.
    """
    if isinstance(rule, Mapping):
        unknown = set(rule) - {task.name for task in tasks}
        if unknown:
            raise InputError("data.task_weights", f"'{sorted(unknown)[0]}'", f"one of {[task.name for task in tasks]}", "correct the name")
        weights = np.array([rule.get(task.name, 1.0) for task in tasks])
    else:
        temperature = {"equal": float("inf"), "by_cases": 1.0}.get(rule, rule)
        if isinstance(temperature, str) or temperature <= 0:
            raise InputError("data.task_weights", f"'{rule}'", "equal, by_cases, a temperature above 0, or a weight per task", "correct the value")
        weights = np.array([float(len(task.case_ids)) for task in tasks]) ** (1 / temperature)
    if weights.min() < 0 or weights.sum() == 0:
        raise InputError("data.task_weights", f"{weights.tolist()}", "positive numbers, or 0 for tasks to leave out", "correct the weights")
    return weights


def shares(weights: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in proportion to ``weights`` that add up to ``total`` (largest remainder)."""
    exact = weights / weights.sum() * total
    whole = np.floor(exact).astype(int)
    largest = np.argsort(-(exact - whole), kind="stable")[: total - whole.sum()]
    whole[largest] += 1
    return whole
