"""``uniseg prepare plan=true``: scans' headers and a composed configuration -> an experiment file."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from uniseg.commands.choices import Choices, choices_of
from uniseg.commands.structured import settings_from
from uniseg.datasets.dataset import Dataset
from uniseg.environment import LOCAL_CONF
from uniseg.planning.budget import Budget, budget_of, budget_within, seconds_of
from uniseg.planning.output import print_plan, write_experiment
from uniseg.planning.planner import Plan, PlanOptions, make_plan
from uniseg.planning.settings import PlanSettings
from uniseg.planning.step_cost import Recipe
from uniseg.planning.topology import Topology
from uniseg.sampling.augment_cost import augment_seconds
from uniseg.sampling.requests import TaskCases, weights_of
from uniseg.task import TaskSet

REPEATED = ("model", "loss", "optimizer", "scheduler", "augment", "speed")  # groups that a planned experiment repeats
USUAL, OF_SHORT_RUNS = {"override /optimizer": "sgd"}, {"override /optimizer": "adamw"}
# Steps. After 600 of SGD a network found a hippocampus at a Dice of 0.28 and nnU-Net at 0, of AdamW at 0.85
# (experiments/hippocampus_vs_nnunet); experiments with AdamW go up to 5,500 (experiments/phantom_transfer).
SHORT = 5_000
BUDGETED = ("steps_per_epoch", "val_steps", "tasks_per_batch", "num_workers")  # settings of data that a budget sets


def plan_experiment(config: DictConfig, tasks: TaskSet, datasets: Sequence[Dataset]) -> None:
    """Tables on stderr, an experiment file; no cache."""
    data = OmegaConf.to_container(config.data, resolve=True)
    cases = [TaskCases(d.task.name, d.splits.fold(d.task.name, config.data.fold).train, ()) for d in datasets]
    settings = settings_from(PlanSettings, OmegaConf.masked_copy(config, list(PlanSettings.__dataclass_fields__)))
    options = PlanOptions(
        settings,
        task_weights=tuple(weights_of(data["task_weights"], cases)),
        budget_of=partial(_budget, config, len(tasks)),
        augment_seconds=partial(_augment_seconds, config, max(task.num_modalities for task in tasks)),
        num_workers=config.num_workers,
    )
    recipe = Recipe(
        tasks,
        model=instantiate(config.model, _convert_="all"),
        width=settings.plan_width,
        loss=instantiate(config.loss),
        optimizer=instantiate(config.optimizer, _convert_="all"),
        precision=settings.plan_precision,
    )
    overrides = HydraConfig.get().overrides.task
    choices = choices_of(config, HydraConfig.get().runtime.choices, REPEATED)
    plan = make_plan(datasets, recipe, options)
    print_plan(plan)
    if takes_adamw(plan, choices, overrides):
        choices = replace(choices, defaults=[OF_SHORT_RUNS if each == USUAL else each for each in choices.defaults])
        sys.stderr.write(f"optimizer adamw: sgd, the usual one, hardly learns in fewer than {SHORT:,} steps\n")
    command = shlex.join(["python", "-m", "uniseg.prepare", *overrides])
    write_experiment(plan, settings.plan_output, command, choices.defaults, choices.values)
    sys.stderr.write(f"{next_step(settings.plan_output)}\n")


def next_step(plan_output: Path) -> str:
    """What to do with a plan: experiments are found by name in ``conf/experiment`` alone.

    Examples:
        >>> next_step(Path("conf/experiment/planned.yaml"))
        'Next: uniseg prepare experiment=planned, then uniseg train experiment=planned'
        >>> next_step(Path("plans/wide.yaml"))
        'Next: move plans/wide.yaml into conf/experiment, then uniseg prepare experiment=wide'
    """
    folder, path = (LOCAL_CONF / "experiment").absolute(), plan_output.absolute()
    if path.is_relative_to(folder):
        name = path.relative_to(folder).with_suffix("")
        return f"Next: uniseg prepare experiment={name}, then uniseg train experiment={name}"
    return f"Next: move {plan_output} into {LOCAL_CONF}/experiment, then uniseg prepare experiment={plan_output.stem}"


def takes_adamw(plan: Plan, choices: Choices, overrides: Sequence[str]) -> bool:
    """Whether the run is too short for SGD, which nobody asked for by name or by an experiment."""
    asked = {override.partition("=")[0].strip("+~").partition(".")[0] for override in overrides}
    return plan.budget.steps < SHORT and USUAL in choices.defaults and not asked & {"optimizer", "experiment"}


def _augment_seconds(config: DictConfig, num_modalities: int, topology: Topology, batch_size: int) -> float:
    recipe = instantiate(config.augment, _convert_="all")
    return batch_size * augment_seconds(recipe, num_modalities, topology.patch_size)


def _budget(config: DictConfig, num_tasks: int, step_seconds: float) -> Budget:
    """The named one, or what the time holds; what the user set otherwise than it is without an experiment stays."""
    usual, mirror_axes = compose("train"), config.augment.mirror_axes
    if seconds_of(config.budget) is None:
        budget = budget_of(config.budget, num_tasks, mirror_axes)
    else:
        budget = budget_within(config.budget, step_seconds, mirror_axes)
    changed = {key: config.data[key] for key in BUDGETED if config.data[key] != usual.data[key]}
    if config.trainer.max_epochs != usual.trainer.max_epochs:
        changed["max_epochs"] = config.trainer.max_epochs
    if config.inference.mirror_axes != usual.inference.mirror_axes:
        changed["mirror_axes"] = tuple(config.inference.mirror_axes)
    return replace(budget, **changed)
