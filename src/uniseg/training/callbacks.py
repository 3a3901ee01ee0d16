"""What happens around the steps: the stream's position, the epoch's means, the bar, losses that are not finite."""

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor

from uniseg.sampling.batch import Batch
from uniseg.training.last_checkpoint import agreed

MOST_IN_A_ROW = 20  # steps without a finite loss


class StreamPosition(Callback):
    """Tells the data which step is done, before any checkpoint is written, so that a resumed run goes on behind it.

    An epoch that waits for its validation counts as whole, also where the run's epochs have another length by now.
    """

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int) -> None:
        trainer.datamodule.step_done(batch.step)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        if batches["is_last_batch"]:
            batches["current"] = dict.fromkeys(batches["current"], trainer.datamodule.steps_per_epoch)


class EpochMeans(Callback):
    """Carries the sums behind the logged means of an epoch into a checkpoint written inside it; Lightning begins them anew."""

    def __init__(self) -> None:
        self._carried: dict[str, tuple[Tensor, Tensor]] = {}
        self._epoch_over = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_over = False

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int) -> None:
        for metric in self._means(trainer):
            if metric.meta.name in self._carried:
                total, weight = self._carried.pop(metric.meta.name)
                metric.value = total.to(metric.value) + metric.value
                metric.cumulated_batch_size = weight.to(metric.cumulated_batch_size) + metric.cumulated_batch_size

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, (total, weight) in self._carried.items():
            self.log(name, (total / weight).to(pl_module.device), batch_size=int(weight))
        self._carried = {}
        self._epoch_over = True

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        own = {metric.meta.name: (metric.value, metric.cumulated_batch_size) for metric in self._means(trainer)}
        checkpoint[type(self).__name__] = {} if self._epoch_over else self._carried | own

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        self._carried = dict(checkpoint.get(type(self).__name__, {}))

    @staticmethod
    def _means(trainer: Trainer) -> list:
        results = trainer.fit_loop.epoch_loop._results
        return [metric for _, metric in results.valid_items() if metric.meta.is_mean_reduction and metric.meta.on_epoch]


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, which in the epoch of a resume knows neither its length nor its number."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if trainer.fit_loop.restarting:
            self.on_train_epoch_start(trainer, pl_module)
            done = trainer.fit_loop.epoch_loop.batch_progress.current.processed
            self.train_progress_bar.n = self.train_progress_bar.initial = done
            self.train_progress_bar.refresh()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.train_progress_bar.initial = 0  # of the epoch before
        super().on_train_epoch_start(trainer, pl_module)


class FiniteLoss(Callback):
    """Ends a run whose loss or gradients are not finite for ``MOST_IN_A_ROW`` steps.

    Fewer come of overflow in float16, and pass. Where there is a gradient scaler, ``train/skipped_steps`` tells how many
    steps of the epoch it skipped.
    """

    def __init__(self) -> None:
        self._in_a_row: Tensor | int = 0  # on the device: asked for now and then, since that waits for the device
        self._skipped = 0
        self._scale = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._skipped = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if scaler := gradient_scaler(trainer):
            self._scale = scaler.get_scale()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: dict, batch: Batch, batch_idx: int) -> None:
        scaler = gradient_scaler(trainer)
        skipped = scaler is not None and scaler.get_scale() < self._scale
        self._skipped += skipped
        self._in_a_row = torch.where(torch.isfinite(outputs["loss"].detach()) & (not skipped), 0, self._in_a_row + 1)
        if (batch.step + 1) % MOST_IN_A_ROW == 0 and (number := agreed(trainer, int(self._in_a_row))) >= MOST_IN_A_ROW:
            told = f"loss or gradients that are not finite for {number} steps, up to step {trainer.global_step}"
            raise FloatingPointError(told)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if gradient_scaler(trainer):
            self.log("train/skipped_steps", float(self._skipped))


def gradient_scaler(trainer: Trainer) -> torch.amp.GradScaler | None:
    """Of training in float16; None for other precisions."""
    return getattr(trainer.precision_plugin, "scaler", None)
