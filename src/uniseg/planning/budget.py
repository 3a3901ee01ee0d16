"""How long a planned run trains."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

NAMES = ("quick", "standard", "published")
MOST_READERS = 12  # the published recipe's
VALIDATION_COST = 1 / 3  # of a training step's time: no backward pass


@dataclass(frozen=True)
class Budget:
    """What a run may take.

    Attributes:
        name: of ``NAMES``.
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
    readers = min(MOST_READERS, max(1, len(os.sched_getaffinity(0)) - 1)) if hasattr(os, "sched_getaffinity") else 1
    axes = tuple(trained_mirror_axes)
    if name == "quick":
        return Budget(name, 10, 100, 25, None, readers, ())
    if name == "standard":
        return Budget(name, 250, 250, 50, None, readers, axes)
    return Budget(name, 1000, max(250, 50 * num_tasks), 50, 1, readers, axes)
