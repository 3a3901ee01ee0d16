"""``python -m uniseg.finetune``: a trained network + a few patients -> checkpoint, with a verdict on it."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("finetune")

import math
import sys
from dataclasses import replace

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from uniseg.commands.builders import tasks_of
from uniseg.commands.control_run import control_config, judge_runs, plan_control
from uniseg.commands.like_base import follow_base, take_settings
from uniseg.commands.prepared import fitting_cache
from uniseg.commands.structured import settings_from
from uniseg.train import one_line_endings, training_run
from uniseg.training.callbacks.effective_rate import EffectiveRate
from uniseg.training.control import FinetuneSettings
from uniseg.training.run import TrainingRun
from uniseg.weights.foreign.open import open_source


def main(config: DictConfig) -> float:
    """The last pseudo-Dice of the fine-tuned network, for sweeps."""
    settings = settings_from(FinetuneSettings, config)
    source = open_source(take_settings(config, settings))
    own_tasks = tasks_of(config)
    for line in follow_base(config, source, settings):
        say(line)
    if config.init.dry_run:
        for line in training_run(config).initialize_model(tasks_of(config)).lines():
            say(line)
        return math.nan
    config.paths.cache = str(fitting_cache(config, planned=tasks_of(config) != own_tasks, say=say))
    plan = plan_control(config, settings, source, say)
    with one_line_endings(config.run_dir):
        trainer = _watched(training_run(config)).start()
        if plan.datasets:
            say(f"Control: new weights at the same plan, steps and seed, in {config.run_dir}/control.")
            _watched(_titled(training_run(control_config(config)))).start()
    if (plan.datasets or plan.obstacle) and trainer.is_global_zero:
        say(judge_runs(config, plan).line())
    return float(trainer.callback_metrics.get("val/pseudo_dice", math.nan))  # none where nothing was left to do


@rank_zero_only
def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _watched(run: TrainingRun) -> TrainingRun:
    callbacks = [*run.trainer.callbacks, EffectiveRate()]
    return replace(run, trainer=replace(run.trainer, callbacks=callbacks))


def _titled(control: TrainingRun) -> TrainingRun:
    """By what loggers tell it from the run beside it."""
    return replace(control, description=replace(control.description, title=f"{control.description.title} control"))
