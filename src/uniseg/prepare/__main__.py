"""``python -m uniseg.prepare``: scans -> cache, or a plan for them."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from uniseg.cli import entry_point, require_datasets, sources_of, tasks_of
from uniseg.prepare.pipeline import Dataset, find_datasets, prepare
from uniseg.prepare.plan import PlanOptions, make_plan
from uniseg.prepare.plan_output import print_plan, write_experiment
from uniseg.prepare.step_cost import Recipe
from uniseg.scans.phantom import write_suite
from uniseg.task import TaskSet


@entry_point("prepare")
def main(config: DictConfig) -> None:
    tasks, sources = tasks_of(config), sources_of(config)
    if config.phantom is not None:
        write_suite(Path(config.paths.phantoms), seed=config.phantom.seed, num_cases=config.phantom.num_cases, shared_style=config.phantom.shared_style)
    require_datasets(sources)
    datasets = find_datasets(tasks, sources)
    if config.plan:
        plan_experiment(config, tasks, datasets)
    else:
        prepare(datasets, Path(config.paths.cache), config.num_workers)


def plan_experiment(config: DictConfig, tasks: TaskSet, datasets: Sequence[Dataset]) -> None:
    """Tables on stderr, an experiment file; no cache."""
    options = PlanOptions(
        gpu_memory_gb=config.gpu_memory_gb,
        spacing=config.plan_spacing,
        share_within=config.plan_share_within,
        measure_memory=config.measure_memory,
        task_weights=OmegaConf.to_container(config.data.task_weights),
        steps_per_epoch=config.data.steps_per_epoch,
        num_workers=config.num_workers,
    )
    recipe = Recipe(
        tasks,
        model=instantiate(config.model, _convert_="all"),
        width=tuple(config.plan_width),
        loss=instantiate(config.loss),
        optimizer=instantiate(config.optimizer, _convert_="all"),
        precision=config.plan_precision,
    )
    plan = make_plan(datasets, recipe, options)
    print_plan(plan)
    command = shlex.join(["python", "-m", "uniseg.prepare", *sys.argv[1:]])
    write_experiment(plan, Path(config.plan_output), command, HydraConfig.get().runtime.choices["model"])


if __name__ == "__main__":
    main()
