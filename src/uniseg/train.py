"""``python -m uniseg.train``: cache -> checkpoint."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("train")

import errno
import math
import signal
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from omegaconf import DictConfig, OmegaConf

from uniseg.commands.builders import (
    close_loggers,
    make_callbacks,
    make_loggers,
    require_datasets,
    run_title,
    sources_of,
    tasks_of,
)
from uniseg.commands.structured import settings_from
from uniseg.datasets.source import Source
from uniseg.datasets.split_file import SPLITS
from uniseg.environment import PACKAGE_DIR, git_commit
from uniseg.errors import InputError
from uniseg.files import write_atomically
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import RunFolder
from uniseg.sampling.datamodule import UniSegDataModule
from uniseg.sampling.settings import StreamSettings
from uniseg.task import TaskSet
from uniseg.training.callbacks.finite_loss import FiniteLoss
from uniseg.training.callbacks.forgetting import OldTasks
from uniseg.training.callbacks.resume_state import EpochMeans, StreamPosition
from uniseg.training.callbacks.stop import BASE, StopOnSignal
from uniseg.training.checkpoint_io import AtomicCheckpointIO
from uniseg.training.downstream import DownstreamModule, HeadsFirst
from uniseg.training.finetuning import FineTuning
from uniseg.training.initialize import Beginning, parameter_counts, start_model
from uniseg.training.logs import keep_log, log_run
from uniseg.training.resume import RunRecord, SavedRun, class_name, find_saved_run, flatten
from uniseg.training.run_folder import clear, locked, require_unused
from uniseg.training.segmentation import SegmentationModule
from uniseg.training.speed import SpeedSettings, apply_speed_settings
from uniseg.training.tracking import begin_tracking
from uniseg.training.upstream import UpstreamModule
from uniseg.weights.checkpoint import load_model
from uniseg.weights.seen import data_facts, merge_data
from uniseg.weights.transfer_report import WeightsReport

INTERRUPTED = BASE + signal.SIGINT
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Of the configuration: what makes a run the same run, and is told where it has changed.
SETTINGS = ("seed", "data", "augment", "loss", "optimizer", "scheduler", "speed", "finetune", "trainer")


def train(config: DictConfig) -> Trainer:
    """One run, start to end.

    Raises:
        InputError: data that is missing or not prepared, a checkpoint that does not fit, a folder that another run has,
            a disk that is full.
        FloatingPointError: loss or weights are not finite; the last good checkpoint is kept.
        Stopped: by a signal; the state is saved.
    """
    try:
        with locked(Path(config.run_dir)):
            return _train(config)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = error.filename or config.run_dir
        fix = "make room, then go on with ckpt_path=last; the last good checkpoint is kept"
        raise InputError(where, error.strerror, "room to write", fix) from error


def _train(config: DictConfig) -> Trainer:
    """Nothing is written before all is checked."""
    tasks, sources = tasks_of(config), sources_of(config)
    require_datasets(sources, Path(config.paths.cache))
    seed_everything(config.seed, workers=True, verbose=False)
    run_dir = Path(config.run_dir)
    saved = find_saved_run(config.ckpt_path, run_dir)
    overwritten = _require_folder(config, saved)
    data = UniSegDataModule(
        saved.order(tasks.names, added=config.finetune.extend) if saved else tasks.names,
        config.paths.cache,
        settings_from(StreamSettings, config.data),
        instantiate(config.augment, _convert_="all"),
        config.seed,
    )
    beginning = begin(config, data.tasks)
    module = build_module(config, data, sources, beginning.model, saved)
    if saved:
        _require_same(config, saved, module)
    rank_zero_only(begin_tracking)(run_dir, run_title(config.name), config.name, renew=overwritten)
    trainer = _make_trainer(config)
    if overwritten:
        rank_zero_only(clear)(run_dir)
    _tell_weights(beginning)
    _write_settings(config, beginning)
    counted = asdict(parameter_counts(beginning.model))
    log_run(trainer.loggers, OmegaConf.to_container(config, resolve=True), counted, data.splits)
    if saved:
        _go_on(trainer, saved, module.record.settings)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=saved and saved.path, weights_only=True)
    finally:
        close_loggers(trainer.loggers)
    return trainer


def _require_folder(config: DictConfig, saved: SavedRun | None) -> bool:
    """Whether an earlier run in the folder is to be removed.

    Raises:
        InputError: the run would take the place of another.
    """
    run_dir = Path(config.run_dir)
    if saved and saved.path.resolve().is_relative_to(run_dir.resolve()):
        if config.overwrite:
            found = f"true, with ckpt_path={config.ckpt_path}, which goes on with the run in {run_dir}"
            raise InputError("overwrite", found, "one of them", "leave the other out")
        return False
    return require_unused(run_dir, overwrite=config.overwrite, inputs=(config.ckpt_path, initial_weights(config)))


def _make_trainer(config: DictConfig) -> Trainer:
    run_dir = Path(config.run_dir)
    watchers = [OldTasks(partial(old_network, config), run_dir)] if config.finetune.extend else []
    if config.finetune.heads_first_steps:
        watchers.append(HeadsFirst(config.finetune.heads_first_steps))
    return instantiate(
        config.trainer,
        default_root_dir=str(run_dir),
        callbacks=[
            StreamPosition(),
            EpochMeans(),
            StopOnSignal(),
            FiniteLoss(),
            *watchers,
            *make_callbacks(config.callbacks),
        ],
        logger=make_loggers(config.logger),
        plugins=[AtomicCheckpointIO()],
        _convert_="all",
    )


def _require_same(config: DictConfig, saved: SavedRun, module: SegmentationModule) -> None:
    """
    Raises:
        InputError: the run is another than that of the checkpoint, or more is done than it has.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    saved.require_same(module.model, shapes, module.new_optimizer(), module.record)
    saved.require_steps_left(config.trainer.max_epochs, config.data.steps_per_epoch)


@rank_zero_only
def _write_settings(config: DictConfig, beginning: Beginning) -> None:
    run = RunFolder(Path(config.run_dir))
    counts = parameter_counts(beginning.model)
    WeightsReport(counts.trained, counts.total, beginning.report).write(run.transfer_report)
    with write_atomically(run.config) as part:
        part.write_text(OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")


def build_module(
    config: DictConfig,
    data: UniSegDataModule,
    sources: Mapping[str, Source],
    model: UniSegModel,
    saved: SavedRun | None,
) -> SegmentationModule:
    """The network with its loss and optimiser, as the configuration says; with the record of all that it has seen."""
    facts = {
        name: data_facts(
            {split: own[split] for split in SPLITS},
            data.patients[name],
            licence=sources[name].licence,
            homepage=sources[name].homepage,
        )
        for name, own in data.splits.items()
    }
    before = merge_data(model.provenance.data, saved.data if saved else {})
    downstream = partial(DownstreamModule, layer_decay=config.finetune.layer_decay)
    accumulated = config.trainer.get("accumulate_grad_batches", 1)
    module = (UpstreamModule if initial_weights(config) is None else downstream)(
        model,
        tasks=data.tasks,
        loss=instantiate(config.loss),
        optimizer=instantiate(config.optimizer, _convert_="all"),
        scheduler=instantiate(config.scheduler, _convert_="all"),
        data_facts=merge_data(before, facts),
        commit=git_commit(PACKAGE_DIR),
        extra_steps=saved.extra_steps(config.data.steps_per_epoch, accumulated) if saved else 0,
    )
    settings = OmegaConf.to_container(OmegaConf.masked_copy(config, SETTINGS), resolve=True)
    splits = {name: {split: own[split] for split in SPLITS} for name, own in data.splits.items()}
    module.record = RunRecord(data.tasks.names, splits, class_name(module.new_optimizer()), flatten(settings))
    apply_speed_settings(model, settings_from(SpeedSettings, config.speed))
    return module


def begin(config: DictConfig, tasks: TaskSet) -> Beginning:
    """The network of the run ahead of its first step.

    Raises:
        InputError: checkpoint, finetune, tasks, network do not go together.
    """
    new = partial(instantiate(config.model, _convert_="all"), patch_size=tuple(config.data.patch_size))
    return start_model(new, tasks, initial_weights(config), settings_from(FineTuning, config.finetune))


def initial_weights(config: DictConfig) -> Path | None:
    """The file or folder that the network begins with; None for new weights.

    Raises:
        InputError: such a beginning was chosen without naming the file.
    """
    if OmegaConf.is_missing(config.init, "checkpoint"):
        found = f"no file, with init={config.init.name}"
        raise InputError("init.checkpoint", found, "a trained network", "add init.checkpoint=<file>")
    return None if config.init.checkpoint is None else Path(config.init.checkpoint)


def _tell_weights(beginning: Beginning) -> None:
    """What trains, where the other numbers came from."""
    counted = parameter_counts(beginning.model)
    trained = f"{counted.trained:,} of {counted.total:,} parameters train."
    for line in [*(beginning.report.lines() if beginning.report else []), trained]:
        rank_zero_info(line)


def old_network(config: DictConfig) -> UniSegModel:
    """The network of ``init.checkpoint``, computing as that of the run does."""
    model = load_model(config.init.checkpoint)
    apply_speed_settings(model, settings_from(SpeedSettings, config.speed))
    return model


def _go_on(trainer: Trainer, saved: SavedRun, settings: Mapping[str, object]) -> None:
    rank_zero_info(f"Going on after step {saved.step} of {saved.path}.")
    if changed := saved.changed(settings):
        rank_zero_info(f"Changed since then, and taken from now on: {', '.join(changed)}.")
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger):
            keep_log(logger, saved.step)
    # The sampler starts behind the last consumed batch by itself.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch ended")


def main(config: DictConfig) -> float:
    if config.init.dry_run:
        _tell_weights(begin(config, tasks_of(config)))
        return math.nan
    try:
        trainer = train(config)
    except FloatingPointError as error:
        fix = (
            "lower optimizer.lr or use trainer.precision=32-true; ckpt_path=last goes on from the last good checkpoint"
        )
        raise InputError(config.run_dir, str(error), "finite numbers", fix) from error
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted ahead of the first step or behind the last: nothing to save.\n")
        sys.exit(INTERRUPTED)
    except SystemExit as stop:  # Lightning's answer to a Ctrl-C outside the loops is 1
        sys.exit(INTERRUPTED if stop.code == 1 else stop.code)
    return float(trainer.callback_metrics.get("val/pseudo_dice", math.nan))  # none where nothing was left to do
