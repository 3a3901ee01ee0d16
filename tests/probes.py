"""Callbacks that tests put into a run: one sends a signal, one writes down the requests."""

import json
import os
import signal
import subprocess
from pathlib import Path

from lightning import Callback


class SignalAt(Callback):
    """Sends a signal at the start of the n-th training or validation step.

    Args:
        event: from 0; training and validation steps count alike.
        number: of the signal.
        group: to every process of the group, as a scheduler or Ctrl-C does.
        rank: which process sends it.
    """

    def __init__(self, event: int, number: int, *, group: bool = False, rank: int = 0) -> None:
        self.left, self.number, self.group, self.rank = event, signal.Signals(number), group, rank

    def on_train_batch_start(self, trainer, *_) -> None:
        if self.left == 0 and trainer.global_rank == self.rank:
            target = -os.getpgrp() if self.group else os.getpid()
            # from outside, as a scheduler does
            subprocess.run(
                ["kill", f"-{self.number}", "--", str(target)], check=True, start_new_session=True, timeout=300
            )
        self.left -= 1

    def on_validation_batch_start(self, trainer, *_) -> None:
        self.on_train_batch_start(trainer)


class Requests(Callback):
    """Writes a line per training step and rank: the cases with the sum of each patch."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        sums = batch.image.double().sum(dim=(1, 2, 3, 4)).tolist()
        line = {
            "step": batch.step,
            "samples": [[case, round(total, 6)] for case, total in zip(batch.case_ids, sums, strict=True)],
        }
        with (self.folder / f"requests_{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
