"""The log file of a run: what the terminal said, with the time of day."""

import logging
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import lightning
import torch
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only

from uniseg.datasets.split_file import SPLITS
from uniseg.datasets.splits import Splits
from uniseg.environment import uniseg_version
from uniseg.task import TaskSet

LOGGERS = ("", "lightning", "lightning.pytorch", "lightning.fabric")


class RunLog(logging.Handler):
    """Collects log records and warnings until the folder belongs to the run, then appends them to a file.

    Examples:
        >>> with run_log() as log:
        ...     log.write("a line that no file gets")
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        self._waiting: list[str] = []
        self._file: TextIO | None = None

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{self.format(record)}\n"
        if self._file is None:
            self._waiting.append(line)
        else:
            self._file.write(line)
            self._file.flush()

    def write(self, line: str) -> None:
        self.handle(logging.LogRecord(__name__, logging.INFO, __file__, 0, line, None, None))

    @rank_zero_only
    def open(self, path: Path) -> None:
        """Append to ``path`` from now on, first what has been collected."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._file.writelines(self._waiting)
        self._file.flush()
        self._waiting.clear()

    def close(self) -> None:
        super().close()
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def run_log() -> Iterator[RunLog]:
    """Listens to what is logged and warned; an error that ends the run is its last line."""
    log = RunLog()
    loggers = [logger for logger in map(logging.getLogger, LOGGERS) if logger.parent is None or not logger.propagate]
    for logger in loggers:
        logger.addHandler(log)
    show = warnings.showwarning

    def show_and_log(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        log.write(f"{category.__name__}: {message}")
        show(message, category, *where, **options)

    warnings.showwarning = show_and_log
    try:
        yield log
    except BaseException as error:
        log.write(f"ended by {type(error).__name__}: {error}")
        raise
    finally:
        warnings.showwarning = show
        for logger in loggers:
            logger.removeHandler(log)
        log.close()


def describe_run(trainer: Trainer, tasks: TaskSet, splits: Mapping[str, Splits], commit: str) -> list[str]:
    """For a person: versions, device, tasks with the number of cases per split."""
    version = f"uniseg {uniseg_version()}{f' ({commit})' if commit else ''}"
    versions = [version, f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
    lines = [
        f"{', '.join(versions)}, Lightning {lightning.__version__}",
        f"Device {device} ({name}){processes}, precision {trainer.precision}.",
    ]
    for task in tasks:
        counts = ", ".join(f"{len(splits[task.name][split])} {split}" for split in SPLITS)
        learnt = task.objective or ", ".join(task.classes[1:])
        lines.append(f"Task {task.name}: {', '.join(task.modalities)} -> {learnt}; cases: {counts}.")
    return lines
