"""``python -m uniseg.prepare``: scans -> cache; somebody's folders -> task files; headers -> a plan."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("prepare")

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from uniseg.cache.build import audit, prepare, prune
from uniseg.commands.builders import require_datasets, sources_of, tasks_of
from uniseg.commands.choices import choices_of
from uniseg.commands.local_conf import LOCAL_CONF
from uniseg.commands.structured import settings_from
from uniseg.datasets.dataset import Dataset, find_datasets
from uniseg.datasets.import_nnunet import import_datasets
from uniseg.phantom.suite import PhantomSettings, write_suite
from uniseg.planning.budget import Budget, budget_of
from uniseg.planning.output import print_plan, write_experiment
from uniseg.planning.planner import PlanOptions, make_plan
from uniseg.planning.step_cost import Recipe
from uniseg.reporting.overlays import write_preview
from uniseg.sampling.requests import TaskCases, weights_of
from uniseg.task import TaskSet

REPEATED = ("model", "loss", "optimizer", "scheduler", "augment", "speed")  # groups that a planned experiment repeats
BUDGETED = ("steps_per_epoch", "val_steps", "tasks_per_batch", "num_workers")  # settings of data that a budget sets


def main(config: DictConfig) -> None:
    if config["import"] is not None:
        preprocessed = Path(config.preprocessed) if config.preprocessed is not None else None
        import_datasets(Path(config["import"]), preprocessed, LOCAL_CONF / "task", overwrite=config.overwrite)
        return
    tasks, sources = tasks_of(config), sources_of(config)
    if config.phantom is not None:
        write_suite(Path(config.paths.phantoms), settings_from(PhantomSettings, config.phantom))
    require_datasets(sources)
    if config.plan:
        plan_experiment(config, tasks, find_datasets(tasks, sources))
        return
    cache_dir = Path(config.paths.cache)
    datasets = audit(tasks, sources, config.num_workers, None if config.audit.only else cache_dir)
    if config.audit.only:
        return
    prepare(datasets, cache_dir, config.num_workers)
    for name in tasks.names:
        sys.stderr.write(f"{write_preview(cache_dir / name)}\n")
    leftovers = prune(cache_dir, tasks.names, remove=config.prune)
    if leftovers:
        sys.stderr.write(f"{leftovers}\n")


def plan_experiment(config: DictConfig, tasks: TaskSet, datasets: Sequence[Dataset]) -> None:
    """Tables on stderr, an experiment file; no cache."""
    data = OmegaConf.to_container(config.data, resolve=True)
    cases = [TaskCases(d.task.name, d.splits.fold(d.task.name, config.data.fold).train, ()) for d in datasets]
    options = PlanOptions(
        gpu_memory_gb=config.gpu_memory_gb,
        spacing=config.plan_spacing,
        share_within=config.plan_share_within,
        measure_memory=config.measure_memory,
        task_weights=tuple(weights_of(data["task_weights"], cases)),
        budget=_budget(config, len(tasks)),
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
    choices = choices_of(config, HydraConfig.get().runtime.choices, REPEATED)
    plan = make_plan(datasets, recipe, options)
    print_plan(plan)
    command = shlex.join(["python", "-m", "uniseg.prepare", *HydraConfig.get().overrides.task])
    write_experiment(plan, Path(config.plan_output), command, choices.defaults, choices.values)


def _budget(config: DictConfig, num_tasks: int) -> Budget:
    """The named one; what the user set otherwise than it is without an experiment stays."""
    usual = compose("train")
    budget = budget_of(config.budget, num_tasks, config.augment.mirror_axes)
    own = {key: config.data[key] for key in BUDGETED if config.data[key] != usual.data[key]}
    if config.trainer.max_epochs != usual.trainer.max_epochs:
        own["max_epochs"] = config.trainer.max_epochs
    if config.inference.mirror_axes != usual.inference.mirror_axes:
        own["mirror_axes"] = tuple(config.inference.mirror_axes)
    return replace(budget, **own)
