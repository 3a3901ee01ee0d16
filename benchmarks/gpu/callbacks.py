"""Callbacks of a real training: steps by the clock with the card's utilisation, and synchronisations counted."""

import subprocess
import threading
import time
import warnings
from collections import Counter
from statistics import median

import torch
from gpu.scale import emit
from lightning import Callback, LightningModule, Trainer

SETTLE = 3  # steps of an epoch before its clock starts
EPOCH = 550  # steps of the published recipe
QUERY = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "100"]


class StepClock(Callback):
    """Steps per second of every epoch but the first, with what lies between two epochs counted apart.

    The card is waited for twice an epoch, at the ends of what is measured.
    """

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []  # time, per cent
        self.windows: list[tuple[float, float, int]] = []  # start, end, steps
        self.rests: list[float] = []
        self.sampler: subprocess.Popen | None = None
        self.start = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not _on_card(trainer):
            return
        try:
            self.sampler = subprocess.Popen(QUERY, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            emit(utilization_missing=str(error))
            return
        threading.Thread(target=self._sample, daemon=True).start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int) -> None:
        if trainer.current_epoch == 0:
            return
        if batch_idx == SETTLE - 1:
            self.start = _now(trainer)
        elif batch_idx == trainer.num_training_batches - 1:
            self._close(_now(trainer), batch_idx + 1 - SETTLE)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.sampler is not None:
            self.sampler.terminate()
        if _on_card(trainer):
            emit(peak_gb=torch.cuda.max_memory_allocated() / 1e9, reserved_gb=torch.cuda.max_memory_reserved() / 1e9)

    def _sample(self) -> None:
        for line in self.sampler.stdout:
            if line.strip().isdigit():
                self.samples.append((time.perf_counter(), float(line)))

    def _close(self, end: float, num_steps: int) -> None:
        if self.windows:
            _, last_end, _ = self.windows[-1]
            self.rests.append(self.start - last_end)
        self.windows.append((self.start, end, num_steps))
        steps = sum(num for *_, num in self.windows)
        seconds = sum(last - first for first, last, _ in self.windows)
        emit(steps_per_s=steps / seconds, step_ms=seconds / steps * 1e3, steady_steps=steps)
        emit(epoch_step_ms=[(last - first) / num * 1e3 for first, last, num in self.windows])
        rest = max(0.0, median(self.rests) - SETTLE * seconds / steps) if self.rests else 0.0
        emit(between_epochs_s=rest, epoch_550_s=EPOCH * seconds / steps + rest, epoch_550_is="extrapolated")
        inside = [v for t, v in self.samples if any(first <= t <= last for first, last, _ in self.windows)]
        over_all = [v for t, v in self.samples if self.windows[0][0] <= t <= end]
        if inside:
            emit(utilization_percent=sum(inside) / len(inside), utilization_samples=len(inside))
            emit(utilization_with_epoch_ends_percent=sum(over_all) / len(over_all))


class SyncCounter(Callback):
    """Operations that made the host wait for the card, over some steady steps, with the lines that called them.

    Args:
        first: step at which counting starts.
        num_steps: over which it goes.
    """

    def __init__(self, first: int, num_steps: int) -> None:
        self.first, self.last = first, first + num_steps
        self.caught: list[warnings.WarningMessage] = []
        self.catching: warnings.catch_warnings | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch, batch_idx: int) -> None:
        step = trainer.current_epoch * trainer.num_training_batches + batch_idx
        if step == self.first:
            self.catching = warnings.catch_warnings(record=True)
            self.caught = self.catching.__enter__()
            warnings.simplefilter("always")
            if _on_card(trainer):
                torch.cuda.set_sync_debug_mode("warn")
        elif step == self.last:
            if _on_card(trainer):
                torch.cuda.set_sync_debug_mode("default")
            self.catching.__exit__(None, None, None)
            self._report(trainer)

    def _report(self, trainer: Trainer) -> None:
        waits = [each for each in self.caught if "synchronizing CUDA operation" in str(each.message)]
        places = Counter(f"{'/'.join(each.filename.split('/')[-3:])}:{each.lineno}" for each in waits)
        num_steps = self.last - self.first
        emit(syncs_per_step=len(waits) / num_steps, sync_steps=num_steps, on_card=_on_card(trainer))
        emit(sync_places={place: count / num_steps for place, count in places.most_common(12)})


def _on_card(trainer: Trainer) -> bool:
    return trainer.strategy.root_device.type == "cuda"


def _now(trainer: Trainer) -> float:
    if _on_card(trainer):
        torch.cuda.synchronize()
    return time.perf_counter()
