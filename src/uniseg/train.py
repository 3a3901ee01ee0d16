"""``python -m uniseg.train``: cache -> checkpoint."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("train")

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf

from uniseg.commands.builders import (
    make_callbacks,
    make_data,
    make_loggers,
    require_datasets,
    run_title,
    sources_of,
    tasks_of,
)
from uniseg.commands.structured import settings_from
from uniseg.errors import INTERRUPTED, InputError
from uniseg.run_folder import RunFolder
from uniseg.training.finetuning import FineTuning
from uniseg.training.initialize import InitSettings
from uniseg.training.optimization import Optimization
from uniseg.training.run import TrainingRun
from uniseg.training.run_parts import EarlierRun, RunData, RunDescription, TrainerParts
from uniseg.training.speed import SpeedSettings, resolve_trainer


def main(config: DictConfig) -> float:
    """The last pseudo-Dice of the validation, for sweeps."""
    run = training_run(config)
    if run.init.dry_run:
        for line in run.initialize_model(tasks_of(config)).lines():
            sys.stderr.write(f"{line}\n")
        return math.nan
    with one_line_endings(config.run_dir):
        trainer = train(config, run)
    return float(trainer.callback_metrics.get("val/pseudo_dice", math.nan))  # none where nothing was left to do


@contextmanager
def one_line_endings(run_dir: str) -> Iterator[None]:
    """Ends of a training that are no bugs become one line, or an exit code."""
    try:
        yield
    except FloatingPointError as error:
        fix = "lower optimizer.lr or use trainer.precision=32-true; ckpt_path=last resumes from the last good one"
        raise InputError(run_dir, str(error), "finite numbers", fix) from error
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted before the first step or after the last: nothing to save.\n")
        sys.exit(INTERRUPTED)
    except SystemExit as stop:  # Lightning's answer to a Ctrl-C outside the loops is 1
        sys.exit(INTERRUPTED if stop.code == 1 else stop.code)


def train(config: DictConfig, run: TrainingRun | None = None) -> Trainer:
    """One run, start to end; see ``TrainingRun.start``."""
    require_datasets(sources_of(config), Path(config.paths.cache))
    return (run or training_run(config)).start()


def training_run(config: DictConfig) -> TrainingRun:
    """The objects that the configuration names.

    Raises:
        InputError: no task, or weights of another network without a file.
    """
    if OmegaConf.is_missing(config.init, "checkpoint"):
        found = f"no file, with init={config.init.name}"
        raise InputError("init.checkpoint", found, "a trained network", "add init.checkpoint=<file>")
    config = config.copy()
    config.trainer = resolve_trainer(config.trainer)
    return TrainingRun(
        RunFolder(Path(config.run_dir)),
        RunData(tasks_of(config).names, partial(make_data, config), sources_of(config)),
        partial(instantiate(config.model, _convert_="all"), patch_size=tuple(config.data.patch_size)),
        TrainerParts(
            partial(instantiate, config.trainer, _convert_="all"),
            make_callbacks(config.callbacks),
            partial(make_loggers, config.logger),
        ),
        Optimization(*(instantiate(config[name], _convert_="all") for name in ("loss", "optimizer", "scheduler"))),
        settings_from(InitSettings, config.init),
        settings_from(FineTuning, config.finetune),
        settings_from(SpeedSettings, config.speed),
        RunDescription(config.name, run_title(config.name), config.seed, OmegaConf.to_container(config, resolve=True)),
        EarlierRun(config.ckpt_path, config.overwrite),
    )
