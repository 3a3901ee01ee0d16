"""What a Trainer has unless something else is given: settings, callbacks, logger, as ``conf`` has them."""

from dataclasses import dataclass

from lightning import Callback
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger

from uniseg.run_folder import RunFolder
from uniseg.training.callbacks.last_checkpoint import LastCheckpoint
from uniseg.training.callbacks.progress import ProgressBar
from uniseg.training.callbacks.prompt_tracker import PromptTracker


@dataclass(frozen=True)
class TrainerSettings:
    """``conf/trainer/default.yaml`` in Python: what ``lightning.Trainer`` is made with.

    Examples:
        >>> TrainerSettings(max_epochs=20).precision
        'auto'
    """

    max_epochs: int = 10
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "auto"
    benchmark: bool | str | None = "auto"
    gradient_clip_val: float = 12
    deterministic: bool = False
    use_distributed_sampler: bool = False
    num_sanity_val_steps: int = 0
    log_every_n_steps: int = 10


def default_bar() -> ProgressBar:
    return ProgressBar(refresh_rate=10)


def default_callbacks(folder: RunFolder) -> list[Callback]:
    """Those of ``conf/callbacks`` that write to the folder of a run or to its logger."""
    return [LastCheckpoint(folder.checkpoints), LearningRateMonitor("epoch"), PromptTracker(folder.path)]


def default_logger(folder: RunFolder) -> CSVLogger:
    return CSVLogger(folder.path, None, folder.logs.name, flush_logs_every_n_steps=1)
