"""An exponential moving average of the weights, which checkpoints hold in place of the weights themselves."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from uniseg.sampling.batch import Batch


class WeightAverage(WeightAveraging):
    """Lightning's averaging: validation, ``last.ckpt`` and what comes of it have the averaged weights.

    Beside the averaged weights a checkpoint holds those that train, with which a run resumes. Other than in Lightning's
    class, a checkpoint written during a validation holds them too, and no step waits for the device.

    Args:
        decay: of the average, per step; until ``1 / (1 - decay)`` steps are done it is the mean of all steps' weights.

    Examples:
        >>> WeightAverage(decay=0.99).decay
        0.99
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.decay = decay
        self._is_swapped = False
        self._run: tuple[Trainer, LightningModule] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._run = trainer, pl_module

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Lightning's asks the device, at every step, whether it is the first."""
        self._update(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Steps are averaged, not epochs."""

    def state_dict(self) -> dict[str, Any]:
        """Asked before a checkpoint is written, by whichever callback: the step is averaged first."""
        if self._run is not None:
            self._update(*self._run)
        return super().state_dict()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._is_swapped:
            keys = "state_dict", "current_model_state"
            checkpoint.update(zip(keys, [checkpoint[key] for key in reversed(keys)], strict=True))

    def _swap_models(self, pl_module: LightningModule) -> None:
        super()._swap_models(pl_module)
        self._is_swapped = not self._is_swapped

    def _update(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Once after every step of the optimiser."""
        average, step = self._average_model, trainer.global_step
        if average is None or step <= self._latest_update_step:
            return
        kept = min(self.decay, (step - 1) / step)
        with torch.no_grad():
            averaged, current = ([p.detach() for p in module.parameters()] for module in (average.module, pl_module))
            torch._foreach_lerp_(averaged, current, 1 - kept)
        average.n_averaged += 1
        self._latest_update_step = step
