"""What a run that resumes inside an epoch needs of it: the position in the stream, the means of the epoch."""

from copy import copy

from lightning import Callback, LightningModule, Trainer

from uniseg.sampling.batch import Batch
from uniseg.training.epoch_losses import EpochLosses


class StreamPosition(Callback):
    """Records in the data which step is done, before any checkpoint is written, so that a run resumes after it.

    An epoch that waits for its validation counts as whole, even where the run's epochs have another length by now.

    Examples:
        >>> trainer = Trainer(callbacks=[StreamPosition(), EpochMeans()], logger=False, accelerator="cpu")
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        trainer.datamodule.step_done(batch.step)  # type: ignore[attr-defined]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        if batches["is_last_batch"]:
            batches["current"] = dict.fromkeys(batches["current"], trainer.datamodule.settings.steps_per_epoch)  # type: ignore[attr-defined]


class EpochMeans(Callback):
    """Logs the mean losses at the end of an epoch, and carries their sums into a checkpoint written inside it.

    The module has them as ``train_losses``, which are ``EpochLosses``.

    Examples:
        >>> trainer = Trainer(callbacks=[EpochMeans()], logger=False, accelerator="cpu")
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        losses: EpochLosses = pl_module.train_losses  # type: ignore[assignment]
        losses.reduce(trainer)
        self.log_dict(losses.means())  # type: ignore[attr-defined]
        losses.clear()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        """Every rank makes a checkpoint of which the first one's is written: it has the sums of all ranks."""
        losses = copy(pl_module.train_losses)
        losses.reduce(trainer)
        checkpoint[type(self).__name__] = losses.state()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        if trainer.is_global_zero:
            pl_module.train_losses.load(checkpoint.get(type(self).__name__, {}))
