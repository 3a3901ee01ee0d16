"""The progress bar, and one line per epoch in the log."""

import time
from collections.abc import Callable

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.utilities import rank_zero_info

METRICS = {"train/loss": "train loss", "val/loss": "val loss", "val/pseudo_dice": "pseudo-Dice"}


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, which in the epoch of a resume knows neither its length nor its number.

    Examples:
        >>> trainer = Trainer(callbacks=[ProgressBar(refresh_rate=10)], logger=False, accelerator="cpu")
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if trainer.fit_loop.restarting:
            self.on_train_epoch_start(trainer, pl_module)
            done = trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
            self.train_progress_bar.n = self.train_progress_bar.initial = done
            self.train_progress_bar.refresh()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.train_progress_bar.initial = 0  # of the epoch before
        super().on_train_epoch_start(trainer, pl_module)


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
