"""When a run's one checkpoint, ``last.ckpt``, is written."""

import time
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from uniseg.run_folder import LAST_CHECKPOINT
from uniseg.sampling.batch import Batch

SECONDS_PER_MINUTE = 60


class LastCheckpoint(Checkpoint):
    """Replaces ``last.ckpt`` after every epoch; by option also inside the epoch.

    A run that resumes from any of these files does what is left: the rest of the steps, all of the validation, the end
    of the epoch.

    Args:
        dirpath: folder of the file.
        every_n_train_steps: also after each multiple of this many steps; None: not.
        every_n_minutes: also at the first step that ends this long after the last file; None: not.

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
        if not trainer.is_last_batch and self._due(trainer):
            self.save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """In place of the end of an epoch's last step: Lightning would resume from there without the validation."""
        if not trainer.sanity_checking and self._due(trainer):
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

    def _due(self, trainer: Trainer) -> bool:
        if self.every_n_train_steps and trainer.global_step % self.every_n_train_steps == 0:
            return True
        if self.every_n_minutes is None:
            return False
        is_due = time.monotonic() - self._saved_at >= self.every_n_minutes * SECONDS_PER_MINUTE
        return bool(agreed(trainer, is_due))


def agreed(trainer: Trainer, value: int) -> int:
    """The largest ``value`` of all ranks; every rank must call this at the same point."""
    if trainer.world_size == 1:
        return value
    tensor: Tensor = torch.tensor(int(value), device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(tensor, reduce_op="max"))
