"""What every entry point does around its work: compose, check, run, tell what ended it in one line."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from uniseg.commands import local_conf, schema
from uniseg.commands.arguments import readable_arguments
from uniseg.commands.failures import BAD_INPUT, READER_GONE, Terminated, end_of
from uniseg.datasets.availability import availability_message, missing_datasets
from uniseg.datasets.source import Source
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.inference.postprocessing import read_cleanings
from uniseg.inference.predictor import Predictor
from uniseg.task import TaskSet, make_task
from uniseg.weights.ensemble import ensemble_hash, load_ensemble

LONGEST_TITLE = 100  # of a run, for loggers


def entry_point(root: str) -> Callable[[Callable[[DictConfig], object]], Callable[[], None]]:
    """Decorates ``f(config)`` as a command on ``conf/<root>.yaml``: checks its settings, says in one line what ended it.

    Exit codes: 2 for bad input, a bad configuration or a machine that lacks something, 130 after Ctrl-C, 143 after
    SIGTERM, 141 where nobody reads standard output any more. A bug keeps its traceback, exit code 1.
    """

    def decorate(work: Callable[[DictConfig], object]) -> Callable[[], None]:
        @wraps(work)
        def command() -> None:
            is_composed = False

            @wraps(work)
            def checked(config: DictConfig) -> object:
                nonlocal is_composed
                is_composed = True
                with _ending(root):  # here, since Hydra adds a line of its own to what passes through it
                    schema.check_settings(config, root)
                    result = work(config)
                    sys.stdout.flush()
                    return result

            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing its own traceback
            schema.register()
            local_conf.register()
            with _terminable(), _ending(root, composing=lambda: not is_composed):
                sys.argv[1:] = readable_arguments(sys.argv[1:], schema.text_keys(root))
                hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=root)(checked)()

        return command

    return decorate


@contextmanager
def _ending(command: str, composing: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Exits with one line on stderr where what is inside ends by anything but a bug."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, BrokenPipeError) and not _stdout_is_read():
            sys.exit(READER_GONE)
        end = end_of(error, command, composing=composing())
        if end is None:
            raise
        sys.stderr.write(f"{end.line}\n")
        sys.exit(end.code)


def _stdout_is_read() -> bool:
    """Whether standard output still has a reader; where not, what is left for it goes nowhere."""
    if hasattr(select, "poll"):  # not on Windows
        state = select.poll()
        state.register(sys.stdout, 0)
        if not any(event & select.POLLERR for _, event in state.poll(0)):
            return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
    return False


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does, so that nothing is left half-written; a second one ends it at once."""

    def terminate(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def tasks_of(config: DictConfig) -> TaskSet:
    """The tasks of a run, in the order of its task list.

    Raises:
        InputError: no task was chosen, or a task's block is wrong.
    """
    values = OmegaConf.to_container(config.tasks, resolve=True) if not OmegaConf.is_missing(config, "tasks") else {}
    return TaskSet(make_task(name, block) for name, block in values.items())


def sources_of(config: DictConfig) -> dict[str, Source]:
    """Where each task's scans are."""
    blocks = OmegaConf.to_container(config.tasks, resolve=True)
    return {name: Source(**{**block["source"], "root": Path(block["source"]["root"])}) for name, block in blocks.items()}


def require_datasets(sources: dict[str, Source], cache_dir: Path | None = None) -> None:
    """Ends the command, exit code 2, with one table of the datasets that are neither at their place nor in the cache."""
    missing = missing_datasets({name: s for name, s in sources.items() if cache_dir is None or not (cache_dir / name / "task.json").exists()})
    if missing:
        sys.stderr.write(availability_message(missing) + "\n")
        sys.exit(BAD_INPUT)


def make_predictor(checkpoint: str | Sequence[str], task_files: Sequence[str], inference: DictConfig, postprocessing: str | None = None) -> Predictor:
    """A Predictor on a checkpoint, or on several as an ensemble, with the tasks of files added, with the settings of ``conf/inference``."""
    settings = OmegaConf.to_container(inference, resolve=True)
    if settings["device"] == "auto":
        settings["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    cleanings = None if postprocessing is None else read_cleanings(postprocessing)
    return Predictor(load_ensemble(checkpoint, task_files), fingerprint=ensemble_hash(checkpoint, task_files), cleanings=cleanings, **settings)


def make_loggers(config: Mapping[str, DictConfig] | None) -> list:
    """The loggers of ``conf/logger``; none where nothing was chosen.

    Raises:
        InputError: the package of one is not installed.
    """
    loggers = []
    for name, block in (config or {}).items():
        try:
            loggers.append(instantiate(block))
        except InstantiationException as error:
            if not isinstance(error.__cause__, ModuleNotFoundError):
                raise
            fix = f"pip install {name}, or choose logger=csv"
            raise InputError(f"logger={name}", "its package not installed", f"package {name}", fix) from error
    return loggers


def run_title(name: str) -> str:
    """The name of a run for loggers: in a sweep with its number and what it was given, shortened."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return name
    job, overrides = HydraConfig.get().job, HydraConfig.get().overrides.task
    given = [own.rpartition(".")[2] for own in overrides if not own.startswith(("experiment=", "name=", "paths."))]
    return f"{name} {job.num}: {' '.join(given)}"[:LONGEST_TITLE]


def close_loggers(loggers: Iterable) -> None:
    """End what loggers have begun; the next run of a process, as in a sweep, would become a part of it."""
    for logger in loggers:
        if finish := getattr(logger.experiment, "finish", None):
            finish()
