"""Signals that end a run: its state is saved at the end of the current step."""

import signal
import threading

from lightning import Callback, LightningModule, Trainer

from uniseg.sampling.batch import Batch
from uniseg.training.callbacks.last_checkpoint import LastCheckpoint, accumulates
from uniseg.training.late import Agreement, agreed

# Windows lacks the second.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name))
BASE = 128  # what a shell adds to the number of the signal that ended a command


class Stopped(SystemExit):
    """Ends the process with the exit code that a shell reports for the signal.

    Examples:
        >>> Stopped(BASE + signal.SIGTERM).code
        143
    """


class CheckpointAndExit(Callback):
    """Saves a checkpoint, then ends the run: after the training or validation step in which a signal comes to any rank.

    Later signals change nothing. Ranks above 0 end with exit code 0, since a launcher takes any other for a crash of
    the whole. Replaces Lightning's handler of SIGTERM, which in a run of many ranks broadcasts from inside the handler.
    Outside the main thread Python takes no signals, and nothing is done.

    Examples:
        >>> from lightning import Trainer
        >>> trainer = Trainer(callbacks=[CheckpointAndExit()], logger=False, accelerator="cpu")
    """

    def __init__(self) -> None:
        self._number = 0
        self._before: dict[signal.Signals, object] = {}
        self._agreement = Agreement()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self._install()
        if trainer.world_size > 1:  # Lightning's question after SIGTERM, which waits for the device before every step
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._install()  # Lightning has put its own in between
        self._exit_if_signalled(trainer, save=False)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._exit_if_signalled(trainer, save=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        if not trainer.is_last_batch and not accumulates(trainer):
            overdue = any(each.is_overdue for each in _last_checkpoints(trainer))
            self._after_step(trainer, overdue=overdue and trainer.world_size > 1)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._exit_if_signalled(trainer, save=True)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._after_step(trainer, overdue=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is left to save: a signal ends what follows at once."""
        self._restore()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _install(self) -> None:
        for number in self._before:
            signal.signal(number, self._remember)

    def _remember(self, number: int, frame: object) -> None:
        self._number = self._number or number

    def _after_step(self, trainer: Trainer, *, overdue: bool) -> None:
        number, is_overdue = self._agreement(trainer, [self._number, overdue])
        if number or is_overdue:
            self._agreement.clear()
            self._save(trainer)
        if number:
            self._exit(trainer, number)

    def _exit_if_signalled(self, trainer: Trainer, *, save: bool) -> None:
        if number := agreed(trainer, self._number):
            if save:
                self._save(trainer)
            self._exit(trainer, number)

    @staticmethod
    def _save(trainer: Trainer) -> None:
        for callback in _last_checkpoints(trainer):
            callback.save(trainer)

    @staticmethod
    def _exit(trainer: Trainer, number: int) -> None:
        raise Stopped(BASE + number if trainer.is_global_zero else 0)


def _nothing() -> None:
    """Signals are ours."""


def _last_checkpoints(trainer: Trainer) -> list[LastCheckpoint]:
    return [each for each in trainer.checkpoint_callbacks if isinstance(each, LastCheckpoint)]
