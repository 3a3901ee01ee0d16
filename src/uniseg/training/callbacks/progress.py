"""The progress bar, and one line per epoch in the log."""

import time
from collections.abc import Callable
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.utilities import rank_zero_info

from uniseg.training.late import LateReader

METRICS = {"train/loss": "train loss", "val/loss": "val loss", "val/pseudo_dice": "pseudo-Dice"}


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, which in the epoch of a resume knows neither its length nor its number.

    It shows the mean training loss of the epoch as of the refresh before, and the values of the last validation, so
    that nothing waits for the device.

    Examples:
        >>> trainer = Trainer(callbacks=[ProgressBar(refresh_rate=10)], logger=False, accelerator="cpu")
    """

    def __init__(self, refresh_rate: int = 10, **options: Any) -> None:
        super().__init__(refresh_rate, **options)
        self._values: dict[str, int | str | float | dict[str, float]] = {}
        self._read = LateReader()

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        running = pl_module.train_losses.running if trainer.training else None
        sums = None if running is None else self._read(running)
        if sums is not None and sums[1]:
            self._values["train/loss"] = float(sums[0] / sums[1])
        return self._values

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The one place where values are read."""
        self._values |= super().get_metrics(trainer, pl_module)
        super().on_validation_end(trainer, pl_module)

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
