"""``python -m uniseg.finetune``: a trained network + a few patients -> checkpoint, with a verdict on it."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("finetune")

import math
import sys
from dataclasses import replace
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from uniseg.commands.builders import tasks_of
from uniseg.commands.control_run import control_config, judge_runs, plan_control, repeat_config
from uniseg.commands.like_base import follow_base, take_settings
from uniseg.commands.prepared import fitting_cache
from uniseg.commands.structured import settings_from
from uniseg.run_folder import RunFolder
from uniseg.train import one_line_endings, training_run
from uniseg.training.callbacks.effective_rate import EffectiveRate
from uniseg.training.callbacks.finetuning import StaleVerdict
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
    repeats = settings.repeats if plan.datasets else 1
    if repeats < settings.repeats:
        say(f"One training instead of {settings.repeats}: without a control there is nothing to judge.")
    verdict = RunFolder(Path(config.run_dir)).verdict
    with one_line_endings(config.run_dir):
        trainer = _watched(config, verdict).start()
        for number in range(repeats):
            repeated = repeat_config(config, number)
            if number:
                say(f"Training {number + 1} of {repeats}, seed {repeated.seed}, in {repeated.run_dir}.")
                _watched(repeated, verdict).start()
            if plan.datasets:
                say(f"Control: new weights at the same plan, steps and seed, in {repeated.run_dir}/control.")
                _titled(_watched(control_config(repeated), verdict)).start()
    if (plan.datasets or plan.obstacle) and trainer.is_global_zero:
        say(judge_runs(config, plan, repeats).line())
    return float(trainer.callback_metrics.get("val/pseudo_dice", math.nan))  # none where nothing was left to do


@rank_zero_only
def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _watched(config: DictConfig, verdict: Path) -> TrainingRun:
    """A run that logs its rates and, where it trains, removes the verdict on what it was before."""
    run = training_run(config)
    callbacks = [*run.trainer.callbacks, EffectiveRate(), StaleVerdict(verdict)]
    return replace(run, trainer=replace(run.trainer, callbacks=callbacks))


def _titled(control: TrainingRun) -> TrainingRun:
    """By what loggers tell it from the run beside it."""
    return replace(control, description=replace(control.description, title=f"{control.description.title} control"))
