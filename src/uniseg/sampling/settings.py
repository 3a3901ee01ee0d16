"""Settings of the patch stream: the config group ``data``, for YAML, command line and Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from uniseg.settings import (
    COUNT,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    STEPS,
    WORKERS,
    bounded,
    check_fields,
    mapping,
    number,
    sequence,
    word,
)


@dataclass(frozen=True)
class StreamSettings:
    """Which patches a run sees, and who reads them.

    Attributes:
        fold: which fold of the training cases is for validation.
        patch_size: (Z, Y, X) voxels.
        batch_size: of the global batch, over all ranks.
        steps_per_epoch: batches per training epoch.
        val_steps: batches per validation; raised to what shows every task with validation cases once.
        tasks_per_batch: how many tasks a batch draws; None: one draw per sample. 1 is the published behaviour.
        task_weights: ``equal`` (published), ``by_cases``, a temperature, or weights by name; see ``weights_of``.
        foreground_fraction: of a batch, its last samples, that is centred on foreground: rounded as nnU-Net does, but
            where that would be none or all of them, spread over steps.
        num_patients: that every task keeps for training, drawn by the seed; None: all.
        num_workers: reader processes per rank.
        pin_memory: batches lie in memory that a GPU reads directly.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> StreamSettings(batch_size=2, tasks_per_batch=1).patch_size
        (32, 48, 48)
    """

    group: ClassVar[str] = "data"

    fold: int = field(default=0, metadata=bounded(STEPS))
    patch_size: tuple[int, int, int] = field(
        default=(32, 48, 48), metadata=bounded(sequence(number(least=1, most=4096, whole=True), length=3))
    )
    batch_size: int = field(default=4, metadata=bounded(number(least=1, most=65536, whole=True)))
    steps_per_epoch: int = field(default=100, metadata=bounded(COUNT))
    val_steps: int = field(default=25, metadata=bounded(COUNT))
    tasks_per_batch: int | None = field(default=None, metadata=bounded(COUNT))
    task_weights: str | float | Mapping[str, float] = field(
        default="equal", metadata=bounded(word("equal", "by_cases") | POSITIVE | mapping(NOT_NEGATIVE))
    )
    foreground_fraction: float = field(default=0.33, metadata=bounded(FRACTION))
    num_patients: int | None = field(default=None, metadata=bounded(COUNT))
    num_workers: int = field(default=1, metadata=bounded(WORKERS))
    pin_memory: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
