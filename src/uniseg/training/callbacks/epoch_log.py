"""Writes one line per epoch."""

import time
from collections.abc import Callable

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

METRICS = {"train/loss": "train loss", "val/loss": "val loss", "val/pseudo_dice": "pseudo-Dice"}


class EpochLog(Callback):
    """Losses, pseudo-Dice, learning rate and seconds of every epoch.

    Args:
        write: takes the line, on rank 0; where no progress bar shows the numbers, the terminal gets it too.

    Examples:
        >>> lines = []
        >>> callback = EpochLog(lines.append)
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self.write = write
        self._start = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics  # on every rank: they are reduced over all
        values = [f"{name} {metrics[key].item():.4f}" for key, name in METRICS.items() if key in metrics]
        values.append(f"learning rate {trainer.optimizers[0].param_groups[0]['lr']:.3g}")
        values.append(f"{time.perf_counter() - self._start:.1f} s")
        if trainer.is_global_zero:
            line = f"epoch {trainer.current_epoch}, step {trainer.global_step}: {', '.join(values)}"
            bar = trainer.progress_bar_callback
            if bar is None or getattr(bar, "is_disabled", False):
                rank_zero_info(line)
            else:
                self.write(line)
