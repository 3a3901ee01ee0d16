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
from uniseg.datasets.dataset import Dataset
from uniseg.phantom.suite import PhantomSettings, write_suite
from uniseg.task import Task, TaskSet


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
    """A folder in which all tasks of the configuration are prepared as it has them; made where there is none.

    Args:
        planned: the tasks were changed after a base; caches by the task files then do not count, and what is made lies
            in a folder of its own below ``paths.cache``, which other runs with this plan share.
        say: gets a line before something is prepared; None: stderr.

    Raises:
        InputError: scans that cannot be prepared.
    """
    cache_dir, tasks = Path(config.paths.cache), tasks_of(config)
    own = cache_dir / f"{'_'.join(tasks.names)[:40]}-like-{_digest(tasks)}"
    for folder in (cache_dir, own) if planned else (cache_dir,):
        if all(is_prepared(folder / task.name) and _fits(task, folder / task.name, planned) for task in tasks):
            return folder
    folder = own if planned else cache_dir
    line = f"Preparing {', '.join(tasks.names)} into {folder}"
    (say or _to_stderr)(f"{line}: like the base; uniseg prepare follows the task files." if planned else f"{line}.")
    write_phantoms(config)
    require_datasets(sources_of(config))
    prepare_tasks(config, folder, num_workers=-1)
    return folder


def _fits(task: Task, folder: Path, planned: bool) -> bool:
    """Whether a cache holds the task as it is; where nothing was planned, a cache counts as it does for training."""
    return not planned or task.is_prepared_as(TaskCache(folder).task)


def _digest(tasks: TaskSet) -> str:
    return hashlib.sha256(json.dumps([task.definition() for task in tasks]).encode()).hexdigest()[:8]


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
