"""Settings of the patch stream: the config group ``data``, for YAML, command line and Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from joblib import cpu_count

from uniseg.settings import (
    COUNT,
    FLAG,
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

AUTO = "auto"
MOST_READERS = 12  # that one GPU is given


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
        num_workers: reader processes per rank; auto: for a GPU as many as cores but one, at most 12; for a processor 1.
        pin_memory: batches lie in memory that a GPU reads directly; auto: for a GPU.

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
    num_workers: int | str = field(default=AUTO, metadata=bounded(word(AUTO) | WORKERS))
    pin_memory: bool | str = field(default=AUTO, metadata=bounded(word(AUTO) | FLAG))

    def __post_init__(self) -> None:
        check_fields(self)

    def for_device(self, device: torch.device, processes: int = 1) -> "StreamSettings":
        """With what is ``auto`` chosen for the device that computes.

        Args:
            processes: of the run on this machine, which share its cores.

        Examples:
            >>> settings = StreamSettings().for_device(torch.device("cpu"))
            >>> settings.num_workers, settings.pin_memory
            (1, False)
        """
        on_gpu = device.type == "cuda"
        num_workers = min(max(cpu_count() // processes - 1, 1), MOST_READERS) if on_gpu else 1
        return replace(
            self,
            num_workers=num_workers if self.num_workers == AUTO else self.num_workers,
            pin_memory=on_gpu if self.pin_memory == AUTO else self.pin_memory,
        )
