"""What every entry point does around its work: compose, run, tell an error in one line."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from traceback import walk_tb
from typing import NoReturn

import hydra
import torch
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, InstantiationException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from uniseg import schema
from uniseg.config import CONF_DIR, make_task
from uniseg.errors import InputError
from uniseg.inference.postprocess import read_cleanings
from uniseg.inference.predictor import Predictor
from uniseg.scans.availability import availability_message, missing_datasets
from uniseg.scans.source import Source
from uniseg.task import TaskSet
from uniseg.weights.ensemble import ensemble_hash, load_ensemble

BAD_INPUT = 2
LOCAL_CONF = Path("conf")
LONGEST_TITLE = 100


class LocalConf(SearchPathPlugin):
    """Files under ``./conf`` of the folder where a command is started come before the packaged ones, if it has tasks or experiments."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if any((LOCAL_CONF / group).is_dir() for group in ("task", "experiment")) and not LOCAL_CONF.samefile(CONF_DIR):
            search_path.prepend("local", f"file://{LOCAL_CONF.absolute()}", anchor="main")


def entry_point(root: str) -> Callable[[Callable[[DictConfig], object]], Callable[[], None]]:
    """Decorates ``f(config)`` as a command on ``conf/<root>.yaml``; bad input ends it with one line on stderr and exit code 2."""

    def decorate(work: Callable[[DictConfig], object]) -> Callable[[], None]:
        @wraps(work)
        def told(config: DictConfig) -> object:
            try:
                return work(config)
            except (InputError, HydraException, OmegaConfBaseException) as error:
                _refuse(error)  # here, since Hydra adds a line of its own to what passes through it

        @wraps(work)
        def command() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing its own traceback
            schema.register()
            Plugins.instance().register(LocalConf)
            try:
                hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=root)(told)()
            except (HydraException, OmegaConfBaseException, ValueError) as error:
                if type(error) is ValueError and not _raised_by_hydra(error):
                    raise
                _refuse(error)

        return command

    return decorate


def _refuse(error: BaseException) -> NoReturn:
    sys.stderr.write(f"error: {one_line(error)}\n")
    sys.exit(BAD_INPUT)


def _raised_by_hydra(error: BaseException) -> bool:
    """Whether composing the configuration failed, which Hydra does not always tell in an error of its own."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_globals["__name__"].startswith("hydra.")


def one_line(error: BaseException) -> str:
    """The message of the innermost InputError behind ``error``, or its own message without line breaks."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return str(cause)
        cause = cause.__cause__
    return " ".join(str(error).split())


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
