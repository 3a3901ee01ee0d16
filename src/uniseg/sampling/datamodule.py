"""The data of a run: request streams in, batches on the device out."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path

import torch
from lightning import LightningDataModule

from uniseg.cache.store import TaskCache
from uniseg.datasets.splits import Splits, check_patients, check_scans, first_patients
from uniseg.errors import InputError
from uniseg.pretext.base import Objective
from uniseg.pretext.objectives import find_objectives
from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.batch import Batch
from uniseg.sampling.loader import BatchLoader, StepSampler
from uniseg.sampling.patches import PatchReader, make_batch
from uniseg.sampling.pretext_samples import PretextSamples
from uniseg.sampling.requests import RequestStream, TaskCases
from uniseg.sampling.settings import StreamSettings
from uniseg.sampling.shared_memory import require_shared_memory
from uniseg.task import Task, TaskSet

VALIDATION_SEED = 1_000_003  # added to the run's seed: val patches are one fixed stream


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
        objectives: of pretext tasks, by name; None: ours with their defaults.

    Raises:
        InputError: a task was not prepared, a patient or a scan is in two splits, the batch does not divide by the
            ranks, or an objective does not fit its task or the patch.

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
        objectives: Mapping[str, Objective] | None = None,
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
            self.splits |= {
                task.name: first_patients(
                    task.name, self.splits[task.name], tables[task.name].patients, settings.num_patients, seed
                )
                for task in self.tasks.segmentations
            }
        self.objectives = find_objectives(self.tasks, objectives, settings.patch_size)
        self.train_stream = RequestStream(self._cases("train"), settings, recipe, seed)
        without_val = {name: 0.0 for name, splits in self.splits.items() if not splits.val}
        with_val = len(self.splits) - len(without_val)
        self.val_steps = 0
        self.val_stream: RequestStream | None = None
        if with_val:  # else the run has no validation
            self.val_steps = max(settings.val_steps, ceil(with_val / self.train_stream.draws_per_batch))
            val_settings = replace(settings, steps_per_epoch=self.val_steps, task_weights=without_val)
            self.val_stream = RequestStream(self._cases("val"), val_settings, None, seed + VALIDATION_SEED)
        self._position = EpochPosition(settings.steps_per_epoch)
        self._loaders: list[BatchLoader] = []  # that the trainer has

    def _cases(self, split: str) -> list[TaskCases]:
        weights = {cache.task.name: cache.loss_weights for cache in self.caches}
        return [
            TaskCases(
                task.name,
                self.splits[task.name][split],
                _optional(task),
                _masked(task),
                (task, self.objectives[task.objective]) if task.objective else None,
                weights.get(task.name, {}),
            )
            for task in self.tasks
        ]

    def train_dataloader(self) -> BatchLoader:
        return self._batches("train")

    def val_dataloader(self) -> BatchLoader | list:
        """Nothing where no task has a val case."""
        return self._batches("val") if self.val_steps else []

    def _batches(self, split: str) -> BatchLoader:
        trainer = self.trainer
        ranks = {"rank": trainer.global_rank, "world_size": trainer.world_size, "processes": trainer.num_devices}
        self._loaders.append(self.batches(split, trainer.strategy.root_device, **ranks))
        return self._loaders[-1]

    def batches(
        self, split: str, device: torch.device, *, rank: int = 0, world_size: int = 1, processes: int = 1
    ) -> BatchLoader:
        """The batches of ``train`` or ``val`` on ``device``, an epoch each time it is iterated over.

        Args:
            processes: of the run on this machine.

        Raises:
            InputError: the batch does not divide by the ranks; too little shared memory for the readers; no val case.
        """
        if self.settings.batch_size % world_size:
            raise InputError(
                "data.batch_size",
                str(self.settings.batch_size),
                f"a multiple of the {world_size} processes",
                "correct the number",
            )
        settings = self.settings.for_device(device, processes)
        if split == "train":
            num_steps, steps = settings.steps_per_epoch, self._position.steps_left
        else:
            num_steps, steps = self.val_steps, partial(range, self.val_steps)
        stream = self.train_stream if split == "train" else self.val_stream
        if stream is None:
            raise InputError("split=val", "no val case", "one or more", "name some in source.splits")
        sampler = StepSampler(stream, num_steps, rank, world_size, steps)
        reader = PatchReader(self.caches, settings.patch_size)
        pretexts = PretextSamples(self.tasks, self.objectives) if self.objectives else None
        make = partial(make_batch, patch_size=settings.patch_size, recipe=self.train_stream.recipe, pretexts=pretexts)
        require_shared_memory(reader, sampler, int(settings.num_workers) * processes)
        return BatchLoader(reader, sampler, settings, device, make, None if split == "train" else num_steps)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """They come from the loader on the device."""
        return batch

    def teardown(self, stage: str) -> None:
        self._close()

    def on_exception(self, exception: BaseException) -> None:
        """Lightning ends the loaders of the loop that raised alone: those of training stay after a signal during the
        validation.
        """
        self._close()

    def _close(self) -> None:
        for loader in self._loaders:
            loader.close()

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
