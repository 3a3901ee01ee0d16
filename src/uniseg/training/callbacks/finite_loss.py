"""Ends a run whose loss or gradients are NaN or infinite."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from uniseg.sampling.batch import Batch
from uniseg.training.callbacks.last_checkpoint import agreed

MOST_IN_A_ROW = 20  # steps without a finite loss


class FiniteLoss(Callback):
    """Ends a run whose loss or gradients are NaN or infinite for ``MOST_IN_A_ROW`` steps.

    Fewer come from overflow in float16, and pass. Where there is a gradient scaler, ``train/skipped_steps`` tells how
    many steps of the epoch it skipped.

    Examples:
        >>> trainer = Trainer(callbacks=[FiniteLoss()], logger=False, accelerator="cpu")
    """

    def __init__(self) -> None:
        self._in_a_row: Tensor | int = 0  # on the device: read now and then, since that waits for the device
        self._skipped = 0
        self._scale = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._skipped = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if scaler := gradient_scaler(trainer):
            self._scale = scaler.get_scale()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        scaler = gradient_scaler(trainer)
        skipped = scaler is not None and scaler.get_scale() < self._scale
        self._skipped += skipped
        self._in_a_row = torch.where(torch.isfinite(outputs["loss"].detach()) & (not skipped), 0, self._in_a_row + 1)
        if (batch.step + 1) % MOST_IN_A_ROW == 0 and (number := agreed(trainer, int(self._in_a_row))) >= MOST_IN_A_ROW:
            steps = f"{number} steps, up to step {trainer.global_step}"
            raise FloatingPointError(f"loss or gradients that are NaN or infinite for {steps}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if gradient_scaler(trainer):
            self.log("train/skipped_steps", float(self._skipped))  # type: ignore[attr-defined]


def gradient_scaler(trainer: Trainer) -> torch.amp.GradScaler | None:
    """Of training in float16; None for other precisions."""
    return getattr(trainer.precision_plugin, "scaler", None)
