"""Prepared tasks for a command: phantoms where they are chosen, scans, a cache that fits."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from uniseg.cache.build import audit, prepare
from uniseg.cache.store import TaskCache, is_prepared
from uniseg.commands.builders import require_datasets, sources_of, tasks_of
from uniseg.commands.structured import settings_from
from uniseg.datasets.availability import missing_datasets
from uniseg.datasets.dataset import Dataset
from uniseg.phantom.suite import PhantomSettings, write_suite
from uniseg.task import TaskSet


def write_phantoms(config: DictConfig) -> None:
    """The phantom suite, where the configuration chooses one."""
    if config.phantom is not None:
        write_suite(Path(config.paths.phantoms), settings_from(PhantomSettings, config.phantom))


def prepare_tasks(config: DictConfig, cache_dir: Path, num_workers: int) -> list[Dataset]:
    """Audit every case of the configuration's tasks, then write their cache.

    Raises:
        InputError: a finding that makes the data useless.
    """
    datasets = audit(tasks_of(config), sources_of(config), num_workers, cache_dir)
    prepare(datasets, cache_dir, num_workers, instantiate(config.pretext, _convert_="all"))
    return datasets


def fitting_cache(config: DictConfig, *, planned: bool, say: Callable[[str], None] | None = None) -> Path:
    """A folder in which all tasks of the configuration are prepared as it has them; made where there is none, and
    brought up to date with the scans where only this makes it.

    Args:
        planned: the tasks were changed after a base; caches by the task files then do not count, and what is made lies
            in a folder of its own below ``paths.cache``, which other runs with this plan share.
        say: gets a line before something is prepared; None: stderr.

    Raises:
        InputError: scans that cannot be prepared.
    """
    cache_dir, tasks = Path(config.paths.cache), tasks_of(config)
    own = cache_dir / f"{'_'.join(tasks.names)[:40]}-like-{_digest(tasks)}"
    if _is_ready(cache_dir, tasks, planned):
        return cache_dir
    # uniseg prepare never comes to the folder of its own, so that what the scans have become is looked for here.
    if planned and _is_ready(own, tasks, planned) and missing_datasets(sources_of(config)):
        return own
    folder = own if planned else cache_dir
    line = f"Preparing {', '.join(tasks.names)} into {folder}"
    (say or _to_stderr)(f"{line}: like the base; uniseg prepare follows the task files." if planned else f"{line}.")
    write_phantoms(config)
    require_datasets(sources_of(config))
    prepare_tasks(config, folder, num_workers=-1)
    return folder


def _is_ready(cache_dir: Path, tasks: TaskSet, planned: bool) -> bool:
    """Whether a cache holds all tasks, as they are where they were planned: else it counts as it does for training."""
    return all(
        is_prepared(folder := cache_dir / task.name) and (not planned or task.is_prepared_as(TaskCache(folder).task))
        for task in tasks
    )


def _digest(tasks: TaskSet) -> str:
    return hashlib.sha256(json.dumps([task.definition() for task in tasks]).encode()).hexdigest()[:8]


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
