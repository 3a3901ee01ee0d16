"""How long a planned run trains."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from uniseg.settings import matching, word

NAMES = ("quick", "standard", "published")
MOST_READERS = 12  # the published recipe's
VALIDATION_COST = 1 / 3  # of a training step's time: no backward pass
TIME = re.compile(r"([1-9]\d*)(min|h|d)")
SECONDS = {"min": 60, "h": 3600, "d": 86_400}
BUDGET = word(*NAMES) | matching(TIME.pattern, "a time such as 30min, 8h, 2d")
# Of a run that is given a time: epochs, since the learning rate falls from one to the next, of at most nnU-Net's steps
# with a fifth of validation.
EPOCHS, MOST_STEPS, VAL_FRACTION = 50, 250, 1 / 5


@dataclass(frozen=True)
class Budget:
    """What a run may take.

    Attributes:
        name: of ``NAMES``, or the time.
        steps_per_epoch, val_steps: batches per training epoch, per validation.
        tasks_per_batch: None: every sample draws its own task.
        num_workers: reader processes.
        mirror_axes: at prediction.

    Examples:
        >>> budget_of("standard", num_tasks=1, trained_mirror_axes=()).steps
        62500
    """

    name: str
    max_epochs: int
    steps_per_epoch: int
    val_steps: int
    tasks_per_batch: int | None
    num_workers: int
    mirror_axes: tuple[int, ...]

    @property
    def steps(self) -> int:
        return self.max_epochs * self.steps_per_epoch

    def seconds(self, step_seconds: float) -> float:
        """Of the whole run, validation included."""
        return step_seconds * self.max_epochs * (self.steps_per_epoch + VALIDATION_COST * self.val_steps)


def budget_of(name: str, num_tasks: int, trained_mirror_axes: Sequence[int]) -> Budget:
    """The budget of one of ``NAMES``.

    ``quick``: 1,000 steps, to see it run. ``standard``: a quarter of nnU-Net's 1,000 epochs of 250 steps.
    ``published``: all of them, or with more than five tasks UniSeg's 50 steps per task and epoch; one task per batch.

    Args:
        trained_mirror_axes: that augmentation flips; no other axis is mirrored at prediction.
    """
    readers, axes = _readers(), tuple(trained_mirror_axes)
    if name == "quick":
        return Budget(name, 10, 100, 25, None, readers, ())
    if name == "standard":
        return Budget(name, 250, 250, 50, None, readers, axes)
    return Budget(name, 1000, max(250, 50 * num_tasks), 50, 1, readers, axes)


def seconds_of(name: str) -> float | None:
    """Of a budget that is a time.

    Examples:
        >>> seconds_of("30min"), seconds_of("quick")
        (1800, None)
    """
    found = TIME.fullmatch(name)
    return int(found[1]) * SECONDS[found[2]] if found else None


def steps_within(seconds: float, step_seconds: float) -> int:
    """Training steps, validation between them."""
    return int(seconds / (step_seconds * (1 + VALIDATION_COST * VAL_FRACTION)))


def budget_within(name: str, step_seconds: float, trained_mirror_axes: Sequence[int]) -> Budget:
    """As many steps as the time ``name`` holds, at least one.

    Examples:
        >>> budget_within("10min", 0.5, (0, 1, 2)).steps
        1122
    """
    seconds = seconds_of(name)
    steps_per_epoch = min(MOST_STEPS, max(1, steps_within(seconds, step_seconds) // EPOCHS))
    val_steps = max(1, round(VAL_FRACTION * steps_per_epoch))
    epochs = max(1, int(seconds / (step_seconds * (steps_per_epoch + VALIDATION_COST * val_steps))))
    return Budget(name, epochs, steps_per_epoch, val_steps, None, _readers(), tuple(trained_mirror_axes))


def _readers() -> int:
    return min(MOST_READERS, max(1, len(os.sched_getaffinity(0)) - 1)) if hasattr(os, "sched_getaffinity") else 1
