"""When a run's one checkpoint, ``last.ckpt``, is written."""

import time
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from uniseg.run_folder import LAST_CHECKPOINT
from uniseg.sampling.batch import Batch
from uniseg.training.late import agreed

SECONDS_PER_MINUTE = 60


class LastCheckpoint(Checkpoint):
    """Replaces ``last.ckpt`` after every epoch; by option also inside the epoch.

    A run that resumes from any of these files does what is left: the rest of the steps, all of the validation, the end
    of the epoch.

    Args:
        dirpath: folder of the file.
        every_n_train_steps: also after each multiple of this many steps; None: not.
        every_n_minutes: also at the first step that ends this long after the last file; None: not. In a run of many
            ranks ``CheckpointAndExit`` brings them together.

    Examples:
        >>> LastCheckpoint("run/checkpoints", every_n_train_steps=100, every_n_minutes=None).path.name
        'last.ckpt'
    """

    def __init__(
        self, dirpath: str | Path, *, every_n_train_steps: int | None = None, every_n_minutes: float | None = 30
    ) -> None:
        self.path = Path(dirpath) / LAST_CHECKPOINT
        self.every_n_train_steps = every_n_train_steps
        self.every_n_minutes = every_n_minutes
        self._saved_at = time.monotonic()

    def save(self, trainer: Trainer) -> None:
        """Write the file now; every rank must call this.

        Raises:
            FloatingPointError: weights that are not finite; the last good file stays.
            OSError: the file cannot be written; the last good file stays.
        """
        broken = [name for name, p in trainer.lightning_module.named_parameters() if not torch.isfinite(p).all()]
        if broken:
            raise FloatingPointError(f"{broken[0]} is not finite after step {trainer.global_step}")
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        if (
            not trainer.is_last_batch
            and not accumulates(trainer)
            and (self._every_n_steps(trainer) or (trainer.world_size == 1 and self.is_overdue))
        ):
            self.save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """In place of the end of an epoch's last step: Lightning would resume from there without the validation."""
        if not trainer.sanity_checking and (self._every_n_steps(trainer) or agreed(trainer, self.is_overdue)):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        """A file written during validation tells Lightning that the first batch has begun, so that all of it is done
        again.
        """
        if trainer.validating:
            counts = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"] = {
                "total": counts,
                "current": dict(counts),
                "is_last_batch": False,
            }

    @property
    def is_overdue(self) -> bool:
        """Whether it is ``every_n_minutes`` since the last file, by the clock of this rank."""
        if self.every_n_minutes is None:
            return False
        return time.monotonic() - self._saved_at >= self.every_n_minutes * SECONDS_PER_MINUTE

    def _every_n_steps(self, trainer: Trainer) -> bool:
        return bool(self.every_n_train_steps) and trainer.global_step % self.every_n_train_steps == 0


def accumulates(trainer: Trainer) -> bool:
    """Whether gradients wait for more batches before the optimiser's step; a checkpoint would lose them."""
    return trainer.fit_loop.epoch_loop._should_accumulate()
