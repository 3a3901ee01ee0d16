"""``fit``: a training from Python, of the same objects as the command's."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger

from uniseg.errors import INTERRUPTED, InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import RunFolder
from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.datamodule import UniSegDataModule
from uniseg.sampling.settings import StreamSettings
from uniseg.settings import as_plain
from uniseg.task import TaskSet
from uniseg.training.callbacks.checkpoint_and_exit import Stopped
from uniseg.training.defaults import TrainerSettings, default_bar, default_callbacks, default_logger
from uniseg.training.optimization import Optimization
from uniseg.training.run import TrainingRun
from uniseg.training.run_parts import RunData, RunDescription, TrainerParts
from uniseg.training.speed import SpeedSettings, resolve_trainer


def fit(
    model: UniSegModel,
    *,
    cache: str | os.PathLike,
    tasks: Sequence[str] | None = None,
    run_dir: str | os.PathLike | None = None,
    data: StreamSettings | None = None,
    augment: AugmentRecipe | None = None,
    optimization: Optimization | None = None,
    speed: SpeedSettings | None = None,
    seed: int = 0,
    **trainer: Any,
) -> Trainer:
    """Train ``model`` in place, on prepared tasks; weights that ask for no gradient stay as they are.

    Args:
        cache: folder that ``uniseg prepare`` wrote.
        tasks: to train on, by name; None: all that the model knows.
        run_dir: folder for checkpoints, logs, configuration; None: nothing is written.
        data: which patches the model sees; None: the defaults with the model's patch size.
        augment: of the training patches; None: nnU-Net's; to leave them as they are, a recipe with probabilities 0.
        optimization: None: nnU-Net's loss, optimiser and schedule.
        speed: how the network computes; None: as suits the device.
        seed: of patches and augmentation.
        trainer: settings of ``lightning.Trainer`` in place of the defaults: ``max_epochs=20``, ``callbacks=[...]``,
            ``precision="16-mixed"``, ...

    Returns:
        The trainer, with the last metrics in ``callback_metrics``.

    Raises:
        InputError: a task that is not prepared, or prepared by another definition than the model's; a folder that
            another run has.
        FloatingPointError: loss or weights are NaN or infinite.
        KeyboardInterrupt: Ctrl-C; with ``run_dir`` the state is saved first.

    Examples:
        >>> def train_on(model: UniSegModel) -> float:
        ...     trainer = fit(model, cache="outputs/cache", max_epochs=20)
        ...     return float(trainer.callback_metrics["val/pseudo_dice"])
    """
    stream = data or StreamSettings(patch_size=model.patch_size)
    recipe = AugmentRecipe() if augment is None else augment
    callbacks, logger = trainer.pop("callbacks", []), trainer.pop("logger", None)
    options = resolve_trainer({**as_plain(TrainerSettings()), **trainer})
    folder = None if run_dir is None else RunFolder(Path(run_dir))
    if folder is None:
        options["enable_checkpointing"] = False
    run = TrainingRun(
        folder,
        RunData(
            tasks or model.tasks.names,
            partial(_data, cache=cache, settings=stream, recipe=recipe, seed=seed),
        ),
        partial(_with_prepared, model.train()),
        TrainerParts(
            partial(Trainer, **options),
            [*_callbacks(folder, options), *_as_list(callbacks)],
            partial(_loggers, folder, logger),
        ),
        optimization or Optimization.with_steps(stream.steps_per_epoch),
        speed=speed or SpeedSettings(),
        description=RunDescription(
            seed=seed, settings={"seed": seed, "data": as_plain(stream), "trainer": _plain(options)}
        ),
    )
    return _start(run)


def _start(run: TrainingRun) -> Trainer:
    try:
        return run.start()
    except Stopped as stop:
        if stop.code == INTERRUPTED:
            raise KeyboardInterrupt from stop
        raise


def _data(task_names: Sequence[str], **options: Any) -> UniSegDataModule:
    names = ("cache", "settings", "recipe", "seed")
    return UniSegDataModule(task_names, *(options[name] for name in names))


def _with_prepared(model: UniSegModel, tasks: TaskSet) -> UniSegModel:
    """The model with its tasks as they were prepared, where what the data had to say was open.

    Raises:
        InputError: a task was prepared by another definition.
    """
    prepared = {task.name: task for task in tasks}
    for name in prepared:
        model.tasks.position(name)
    for task in model.tasks:
        if task.name in prepared and not task.is_prepared_as(prepared[task.name]):
            found = f"another definition of '{task.name}' than the model's"
            raise InputError("cache", found, "the model's", "prepare the task again, or make the model of the cache's")
    model.tasks = TaskSet(prepared.get(task.name, task) for task in model.tasks)
    return model


def _callbacks(folder: RunFolder | None, options: Mapping[str, Any]) -> list[Callback]:
    bar = [default_bar()] if options.get("enable_progress_bar", True) else []
    return bar if folder is None else [*default_callbacks(folder), *bar]


def _loggers(folder: RunFolder | None, given: Any) -> list[Logger]:
    return [*([] if folder is None else [default_logger(folder)]), *_as_list(given)]


def _as_list(given: Any) -> list:
    return list(given) if isinstance(given, (list, tuple)) else [] if given in (None, True, False) else [given]


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a Trainer as a YAML holds them; objects by their names."""
    plain = str | int | float | None
    return {
        key: value
        if isinstance(value, plain) or (isinstance(value, list) and all(isinstance(each, plain) for each in value))
        else str(value)
        for key, value in options.items()
    }
