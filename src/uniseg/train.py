"""``python -m uniseg.train``: cache -> checkpoint."""

import errno
import math
import signal
import sys
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from omegaconf import DictConfig, OmegaConf

from uniseg.cli import entry_point, require_datasets, sources_of, tasks_of
from uniseg.errors import InputError
from uniseg.files import write_atomically, write_json
from uniseg.models.uniseg import UniSegModel
from uniseg.report.environment import PACKAGE_DIR, git_commit
from uniseg.scans.source import Source
from uniseg.stream.datamodule import MultiDatasetModule
from uniseg.task import TaskSet
from uniseg.training.callbacks import EpochMeans, FiniteLoss, StreamPosition
from uniseg.training.checkpoint_io import AtomicCheckpointIO
from uniseg.training.downstream import DownstreamModule, HeadsFirst
from uniseg.training.logs import keep_log
from uniseg.training.old_tasks import OldTasks
from uniseg.training.segmentation import SegmentationModule
from uniseg.training.speed import speed_up
from uniseg.training.stop import BASE, StopOnSignal
from uniseg.training.strategy import Beginning, Strategy, parameter_counts, start_model
from uniseg.training.upstream import UpstreamModule
from uniseg.weights.checkpoint import load_model, read_checkpoint

INTERRUPTED = BASE + signal.SIGINT
WEIGHTS_FILE = "weights.json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Start:
    """What a run goes on from: a file with so many steps behind it, or nothing."""

    path: Path | None
    step: int


def train(config: DictConfig) -> Trainer:
    """One run, start to end.

    Raises:
        InputError: data that is missing or not prepared, a checkpoint that does not fit, a disk that is full.
        Stopped: by a signal; the state is saved.
    """
    try:
        return _train(config)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = error.filename or config.run_dir
        raise InputError(where, error.strerror, "room to write", "make room, then go on with ckpt_path=last; the last good checkpoint is kept") from error


def _train(config: DictConfig) -> Trainer:
    tasks, sources = tasks_of(config), sources_of(config)
    require_datasets(sources, Path(config.paths.cache))
    seed_everything(config.seed, workers=True, verbose=False)
    run_dir = Path(config.run_dir)
    start = _start(config.ckpt_path, run_dir)
    data = MultiDatasetModule(
        tasks.names,
        **OmegaConf.to_container(config.data, resolve=True),
        cache_dir=Path(config.paths.cache),
        recipe=instantiate(config.augment, _convert_="all"),
        seed=config.seed,
    )
    module = build_module(config, data, sources)
    watchers = [OldTasks(partial(old_network, config), run_dir)] if config.strategy.extend else []
    if config.strategy.heads_first_steps:
        watchers.append(HeadsFirst(config.strategy.heads_first_steps))
    trainer: Trainer = instantiate(
        config.trainer,
        default_root_dir=str(run_dir),
        callbacks=[StreamPosition(), EpochMeans(), StopOnSignal(), FiniteLoss(), *watchers, *instantiate(config.callbacks).values()],
        logger=list(instantiate(config.logger).values()),
        plugins=[AtomicCheckpointIO()],
        _convert_="all",
    )
    with write_atomically(run_dir / "config.yaml") as part:
        part.write_text(OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")
    if start.path:
        _go_on(trainer, start)
    trainer.fit(module, datamodule=data, ckpt_path=start.path, weights_only=True)
    return trainer


def build_module(config: DictConfig, data: MultiDatasetModule, sources: dict[str, Source]) -> SegmentationModule:
    """The network with its loss and optimiser, as the configuration says."""
    facts = {
        name: {"licence": sources[name].licence, "homepage": sources[name].homepage, **{side: list(split[side]) for side in ("train", "dev", "test")}}
        for name, split in data.splits.items()
    }
    beginning = begin(config, data.tasks)
    model = beginning.model
    _tell_weights(beginning)
    _write_weights(beginning, Path(config.run_dir))
    _speed_up(model, config)
    module = UpstreamModule if config.init.checkpoint is None else partial(DownstreamModule, layer_decay=config.strategy.layer_decay)
    return module(
        model,
        tasks=data.tasks,
        loss=instantiate(config.loss),
        optimizer=instantiate(config.optimizer, _convert_="all"),
        scheduler=instantiate(config.scheduler, _convert_="all"),
        data_facts=model.origin.get("data", {}) | facts,
        commit=git_commit(PACKAGE_DIR),
    )


def begin(config: DictConfig, tasks: TaskSet) -> Beginning:
    """The network of the run ahead of its first step.

    Raises:
        InputError: checkpoint, strategy, tasks, network do not go together.
    """
    new = partial(instantiate(config.model, _convert_="all"), patch_size=tuple(config.data.patch_size))
    strategy = Strategy(**{key: value for key, value in config.strategy.items() if key != "name"})
    return start_model(new, tasks, config.init.checkpoint and Path(config.init.checkpoint), strategy)


def _tell_weights(beginning: Beginning) -> None:
    """What trains, where the other numbers came from."""
    counted = parameter_counts(beginning.model)
    for line in [*(beginning.report.lines() if beginning.report else []), f"{counted.trained:,} of {counted.total:,} parameters train."]:
        rank_zero_info(line)


@rank_zero_only
def _write_weights(beginning: Beginning, run_dir: Path) -> None:
    told = asdict(parameter_counts(beginning.model)) | {"transfer": asdict(beginning.report) if beginning.report else None}
    write_json(run_dir / WEIGHTS_FILE, told)


def old_network(config: DictConfig) -> UniSegModel:
    """The network of ``init.checkpoint``, computing as that of the run does."""
    model = load_model(config.init.checkpoint)
    _speed_up(model, config)
    return model


def _speed_up(model: UniSegModel, config: DictConfig) -> None:
    speed = config.speed
    speed_up(model, compile_trunk=speed.compile, channels_last=speed.channels_last, checkpoint_activations=speed.checkpoint_activations)


def _start(wanted: str | None, run_dir: Path) -> Start:
    """``last`` is the newest complete file of the run; none where the run was killed ahead of the first.

    Raises:
        InputError: no such file; or it cannot be read, for ``last``: nor can any other.
    """
    if wanted is None:
        return Start(None, 0)
    if wanted != "last":
        return Start(Path(wanted), read_checkpoint(wanted)["global_step"])
    folder = run_dir / "checkpoints"
    found = sorted(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in found:
        try:
            return Start(path, read_checkpoint(path)["global_step"])
        except InputError as error:
            if path == found[-1]:
                raise
            rank_zero_info(f"Passed over: {error}")
    rank_zero_info(f"No checkpoint in {folder} yet: the run starts anew.")
    return Start(None, 0)


def _go_on(trainer: Trainer, start: Start) -> None:
    rank_zero_info(f"Going on after step {start.step} of {start.path}.")
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger):
            keep_log(logger, start.step)
    # The sampler starts behind the last consumed batch by itself.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch ended")


@entry_point("train")
def main(config: DictConfig) -> float:
    if config.init.dry_run:
        _tell_weights(begin(config, tasks_of(config)))
        return math.nan
    try:
        trainer = train(config)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SystemExit as stop:  # Lightning's answer to a Ctrl-C ahead of the first step is 1
        sys.exit(INTERRUPTED if stop.code == 1 else stop.code)
    return float(trainer.callback_metrics.get("val/pseudo_dice", math.nan))  # none where nothing was left to do


if __name__ == "__main__":
    main()
