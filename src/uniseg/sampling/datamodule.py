"""The data of a run: request streams in, batches on the device out."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path

from lightning import LightningDataModule
from torch.utils.data import DataLoader

from uniseg.cache.store import TaskCache
from uniseg.datasets.splits import Splits, check_patients, check_scans, first_patients
from uniseg.errors import InputError
from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.batch import Batch, RawBatch, ReadFailure
from uniseg.sampling.patches import PatchReader, make_batch
from uniseg.sampling.requests import PatchRequest, RequestStream, TaskCases
from uniseg.sampling.settings import StreamSettings
from uniseg.sampling.signals import ignore_signals_in_worker, sigterm_blocked
from uniseg.task import Task, TaskSet

VALIDATION_SEED = 1_000_003  # added to the run's seed: val patches are one fixed stream


class StepSampler:
    """Yields this rank's requests step by step.

    Args:
        num_steps: of a whole epoch.
        steps: those that are left of the current epoch, as the run counts them; called at the start of each.

    Examples:
        >>> stream = RequestStream([TaskCases("liver", ("a",), (False,))], StreamSettings(batch_size=4), None, seed=0)
        >>> sampler = StepSampler(stream, 100, rank=1, world_size=2, steps=lambda: range(100))
        >>> [request.batch_index for request in next(iter(sampler))]
        [2, 3]
    """

    def __init__(
        self, stream: RequestStream, num_steps: int, rank: int, world_size: int, steps: Callable[[], Iterable[int]]
    ) -> None:
        self.stream = stream
        self.num_steps = num_steps
        self.steps = steps
        per_rank = stream.batch_size // world_size
        self.of_rank = slice(rank * per_rank, (rank + 1) * per_rank)

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[list[PatchRequest]]:
        for step in self.steps():
            yield self.stream.batch(step)[self.of_rank]


class ShieldedLoader(DataLoader):
    """Starts its readers such that no signal reaches them before they know what to do with it.

    Examples:
        >>> len(ShieldedLoader(list(range(4)), batch_size=2))
        2
    """

    def __iter__(self) -> Iterator:  # type: ignore[override]
        with sigterm_blocked():
            return super().__iter__()


class EpochPosition:
    """How far a run is in its stream of steps, and in its current epoch, whose length may change on resume.

    Args:
        steps_per_epoch: from now on.

    Examples:
        >>> position = EpochPosition(4)
        >>> position.step_done(1)
        >>> position.steps_left()
        range(2, 4)
    """

    def __init__(self, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self._consumed = self._epoch_start = 0

    def step_done(self, step: int) -> None:
        self._consumed = step + 1

    def steps_left(self) -> range:
        """Of the current epoch; of the next where all of its steps are done."""
        if self._consumed - self._epoch_start >= self.steps_per_epoch:
            self._epoch_start = self._consumed
        return range(self._consumed, self._epoch_start + self.steps_per_epoch)

    def state_dict(self) -> dict[str, int]:
        return {"consumed": self._consumed, "epoch_start": self._epoch_start, "steps_per_epoch": self.steps_per_epoch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Older states hold ``consumed`` alone."""
        self._consumed = state_dict["consumed"]
        length = state_dict.get("steps_per_epoch", self.steps_per_epoch)
        self._epoch_start = state_dict.get("epoch_start", self._consumed // length * length)
        if self._consumed - self._epoch_start >= length:
            self._epoch_start = self._consumed


class UniSegDataModule(LightningDataModule):
    """Reads prepared tasks; mixes them in every batch.

    Args:
        tasks: names, in the order of their task indices.
        cache_dir: one prepared folder per task.
        recipe: augmentation of training patches; None: none.
        seed: of all draws.

    Raises:
        InputError: a task was not prepared, a patient or a scan is in two splits, or the batch does not divide by the
            ranks.

    Examples:
        >>> UniSegDataModule(["liver"], "outputs/cache").tasks.names  # doctest: +SKIP
        ('liver',)
    """

    def __init__(
        self,
        tasks: Sequence[str],
        cache_dir: str | os.PathLike,
        settings: StreamSettings = StreamSettings(),
        recipe: AugmentRecipe | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.caches = [TaskCache(Path(cache_dir) / name) for name in tasks]
        self.tasks = TaskSet(cache.task for cache in self.caches)
        tables = {cache.task.name: cache.splits for cache in self.caches}
        check_patients(tables, settings.fold)
        check_scans(tables, {cache.task.name: cache.image_hashes for cache in self.caches}, settings.fold)
        self.patients = {name: table.patients for name, table in tables.items()}
        self.splits: dict[str, Splits] = {name: table.fold(name, settings.fold) for name, table in tables.items()}
        if settings.num_patients is not None:
            self.splits = {
                name: first_patients(name, splits, tables[name].patients, settings.num_patients, seed)
                for name, splits in self.splits.items()
            }
        self.train_stream = RequestStream(self._cases("train"), settings, recipe, seed)
        without_val = {name: 0.0 for name, splits in self.splits.items() if not splits.val}
        with_val = len(self.splits) - len(without_val)
        self.val_steps = max(settings.val_steps, ceil(with_val / self.train_stream.draws_per_batch))
        val_settings = replace(settings, steps_per_epoch=self.val_steps, task_weights=without_val)
        self.val_stream = RequestStream(self._cases("val"), val_settings, None, seed + VALIDATION_SEED)
        self._position = EpochPosition(settings.steps_per_epoch)

    def _cases(self, split: str) -> list[TaskCases]:
        return [
            TaskCases(cache.task.name, self.splits[cache.task.name][split], _optional(cache.task), _masked(cache.task))
            for cache in self.caches
        ]

    def train_dataloader(self) -> DataLoader:
        return self._loader(self._sampler(self.train_stream, self.settings.steps_per_epoch, self._position.steps_left))

    def val_dataloader(self) -> DataLoader:
        return self._loader(self._sampler(self.val_stream, self.val_steps, lambda: range(self.val_steps)))

    def _sampler(self, stream: RequestStream, num_steps: int, steps: Callable[[], Iterable[int]]) -> StepSampler:
        world_size = self.trainer.world_size
        if stream.batch_size % world_size:
            raise InputError(
                "data.batch_size",
                str(stream.batch_size),
                f"a multiple of the {world_size} processes",
                "correct the number",
            )
        return StepSampler(stream, num_steps, self.trainer.global_rank, world_size, steps)

    def _loader(self, sampler: StepSampler) -> DataLoader:
        return ShieldedLoader(
            PatchReader(self.caches, self.settings.patch_size),
            batch_sampler=sampler,
            collate_fn=_unchanged,
            num_workers=self.settings.num_workers,
            worker_init_fn=ignore_signals_in_worker,
            pin_memory=self.settings.pin_memory,
        )

    def on_before_batch_transfer(self, batch: RawBatch | ReadFailure, dataloader_idx: int) -> RawBatch:
        """
        Raises:
            InputError, OSError, MemoryError, FloatingPointError: the error of a reader.
        """
        if isinstance(batch, ReadFailure):
            raise batch.error
        return batch

    def on_after_batch_transfer(self, batch: RawBatch, dataloader_idx: int) -> Batch:
        return make_batch(batch, self.settings.patch_size, self.train_stream.recipe)

    def step_done(self, step: int) -> None:
        """Called by the LightningModule after the optimiser's step; a resumed run continues after it."""
        self._position.step_done(step)

    def state_dict(self) -> dict[str, int]:
        return self._position.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._position.load_state_dict(state_dict)


def _optional(task: Task) -> tuple[bool, ...]:
    return tuple(modality in task.optional for modality in task.modalities)


def _masked(task: Task) -> tuple[bool, ...]:
    return tuple(bool(how.masked) for how in task.normalization)


def _unchanged(batch: RawBatch | ReadFailure) -> RawBatch | ReadFailure:
    return batch
