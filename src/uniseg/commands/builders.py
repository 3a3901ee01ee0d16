"""A composed configuration -> tasks, sources, predictor, loggers, callbacks."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning import Callback
from omegaconf import DictConfig, OmegaConf

from uniseg.cache.store import is_prepared
from uniseg.commands.failures import BAD_INPUT
from uniseg.commands.structured import settings_from
from uniseg.datasets.availability import availability_message, missing_datasets
from uniseg.datasets.source import Source, TaskBlock
from uniseg.environment import CONF_DIR, LOCAL_CONF
from uniseg.errors import InputError
from uniseg.inference.predictor import Predictor
from uniseg.inference.settings import AUTO, InferenceSettings
from uniseg.metrics.registry import Metrics, find_metrics
from uniseg.reporting.prompts import similarity_image
from uniseg.run_folder import file_of_evaluation
from uniseg.sampling.datamodule import UniSegDataModule
from uniseg.sampling.settings import StreamSettings
from uniseg.task import TaskSet

LONGEST_TITLE = 100  # of a run, for loggers


def tasks_of(config: DictConfig) -> TaskSet:
    """The tasks of a run, in the order of its task list.

    Raises:
        InputError: no task was chosen, or a task's block is wrong.
    """
    values = OmegaConf.to_container(config.tasks, resolve=True) if not OmegaConf.is_missing(config, "tasks") else {}
    if not values:
        fix = "give task=[liver,spleen] or experiment=demo; --help task and --help experiment list them"
        raise InputError("task", "no task", "one or more", fix)
    return TaskSet(settings_from(TaskBlock, block).make_task(name) for name, block in values.items())


def sources_of(config: DictConfig) -> dict[str, Source]:
    """Where each task's scans are."""
    blocks: Any = OmegaConf.to_container(config.tasks, resolve=True)
    return {name: settings_from(Source, block["source"]) for name, block in blocks.items()}


def require_datasets(sources: dict[str, Source], cache_dir: Path | None = None) -> None:
    """Ends the command, exit code 2, with one table of the datasets that are neither there nor in the cache."""
    missing = missing_datasets(
        {name: s for name, s in sources.items() if cache_dir is None or not is_prepared(cache_dir / name)}
    )
    if missing:
        sys.stderr.write(availability_message(missing) + "\n")
        sys.exit(BAD_INPUT)


def make_data(config: DictConfig, task_names: Sequence[str]) -> UniSegDataModule:
    """The batches of a run.

    Raises:
        InputError: a task was not prepared, or a patient or scan is in two splits.
    """
    return UniSegDataModule(
        task_names,
        config.paths.cache,
        settings_from(StreamSettings, config.data),
        instantiate(config.augment, _convert_="all"),
        config.seed,
        instantiate(config.pretext, _convert_="all"),
    )


def make_predictor(
    checkpoint: str | Sequence[str],
    task_files: Sequence[str],
    inference: DictConfig,
    postprocessing: str | None = None,
    site_file: str | None = None,
) -> Predictor:
    """A Predictor on a checkpoint, or on several as an ensemble, with the tasks of files added, adapted by a site file,
    with the settings of ``conf/inference``.
    """
    settings = settings_from(InferenceSettings, inference)
    if OmegaConf.is_config(checkpoint):
        checkpoint = OmegaConf.to_container(checkpoint)  # type: ignore[assignment]
    rules = postprocessing if postprocessing in (None, AUTO) else file_of_evaluation(postprocessing)
    return Predictor.from_pretrained(checkpoint, task_files, settings, rules, site_file)


def make_metrics() -> Metrics:
    """Those of ``conf/metric``, with a user's own in ``./conf/metric``.

    Raises:
        InputError: a file that makes no metric.
    """
    return find_metrics([CONF_DIR, LOCAL_CONF])


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
    given = [each.rpartition(".")[2] for each in overrides if not each.startswith(("experiment=", "name=", "paths."))]
    return f"{name} {job.num}: {' '.join(given)}"[:LONGEST_TITLE]


def make_callbacks(config: DictConfig) -> list[Callback]:
    """Those of ``conf/callbacks``, which a user may drop; one that draws the prompts gets the picture from here."""
    made = instantiate(config).values()
    return [each(draw=similarity_image) if isinstance(each, partial) else each for each in made]
