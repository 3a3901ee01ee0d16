"""Ends a run whose loss or gradients are NaN or infinite."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from uniseg.sampling.batch import Batch
from uniseg.training.late import LateReader, largest_of_ranks

MOST_IN_A_ROW = 20  # steps without a finite loss


class FiniteLoss(Callback):
    """Ends a run whose loss or gradients are NaN or infinite for ``MOST_IN_A_ROW`` steps.

    Fewer come from overflow in float16, and pass. Where there is a gradient scaler, ``train/skipped_steps`` tells how
    many steps of the epoch it skipped.

    Examples:
        >>> trainer = Trainer(callbacks=[FiniteLoss()], logger=False, accelerator="cpu")
    """

    def __init__(self) -> None:
        self._in_a_row: Tensor | int = 0  # on the device, like the next two
        self._skipped: Tensor | int = 0
        self._scale: Tensor | float = 0.0
        self._read = LateReader()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._skipped = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if scaler := gradient_scaler(trainer):
            self._scale = _scale_of(scaler)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        good = torch.isfinite(outputs["loss"].detach())
        if scaler := gradient_scaler(trainer):
            kept = torch.as_tensor(_scale_of(scaler) >= self._scale)
            self._skipped = self._skipped + ~kept
            good = good & kept
        self._in_a_row = torch.where(good, 0, self._in_a_row + 1)
        if (batch.step + 1) % MOST_IN_A_ROW == 0:
            self._require_finite(trainer, self._in_a_row)

    def _require_finite(self, trainer: Trainer, in_a_row: Tensor) -> None:
        """On GPUs of what was so ``MOST_IN_A_ROW`` steps ago."""
        number = self._read(largest_of_ranks(trainer, in_a_row.clone()))
        if number is not None and number >= MOST_IN_A_ROW:
            steps = f"{int(number)} steps, up to step {trainer.global_step}"
            raise FloatingPointError(f"loss or gradients that are NaN or infinite for {steps}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if gradient_scaler(trainer):
            self.log("train/skipped_steps", float(self._skipped))  # type: ignore[attr-defined]


def _scale_of(scaler: torch.amp.GradScaler) -> Tensor | float:
    """Its scale now, on the device; ``get_scale`` waits for the device."""
    scale = scaler._scale
    return scaler._init_scale if scale is None else scale.clone()


def gradient_scaler(trainer: Trainer) -> torch.amp.GradScaler | None:
    """Of training in float16; None for other precisions."""
    return getattr(trainer.precision_plugin, "scaler", None)
