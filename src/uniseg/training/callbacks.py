"""What happens around the steps: the stream's position, a loss that is lost."""

import math

from lightning import Callback, LightningModule, Trainer

from uniseg.stream.batch import Batch


class StreamPosition(Callback):
    """Tells the data which step is done, before any checkpoint is written, so that a resumed run goes on behind it."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int) -> None:
        trainer.datamodule.step_done(batch.step)


class FiniteLoss(Callback):
    """Ends a run whose loss is no number, at the end of the epoch."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = float(trainer.callback_metrics.get("train/loss", 0))  # none where a run is resumed behind an epoch's last step
        if not math.isfinite(loss):
            raise FloatingPointError(f"train/loss is {loss} in epoch {trainer.current_epoch}: lower optimizer.lr or use trainer.precision=32")
