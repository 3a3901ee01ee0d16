"""The network that a run begins with: new, or one that is trained and takes the run's tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.checkpoint import load_model

ALL, ADDED = "all", "added"


@dataclass(frozen=True)
class Strategy:
    """What becomes of the network of ``init.checkpoint``.

    Attributes:
        extend: it stays as it is and gets the run's new tasks.
        adapter_channels: of what is added.
        trained: ``all`` or ``added``.

    Raises:
        InputError: something else to train, or an addition to train without one.
    """

    extend: bool
    adapter_channels: int
    trained: str

    def __post_init__(self) -> None:
        if self.trained not in (ALL, ADDED) or (self.trained == ADDED and not self.extend):
            raise InputError("strategy.trained", f"'{self.trained}'", f"{ALL}, or {ADDED} with strategy.extend=true", "choose strategy=full or prompt_only")


def start_model(new: Callable[[TaskSet], UniSegModel], tasks: TaskSet, checkpoint: Path | None, strategy: Strategy) -> UniSegModel:
    """The network of a run, with its weights; those that do not train ask for no gradient.

    Args:
        new: makes the network of the configuration.
        tasks: of the run's data.
        checkpoint: of a trained network, or None.

    Raises:
        InputError: checkpoint and strategy do not go together, or the tasks do not go with the trained network.
    """
    if checkpoint is None:
        if strategy.extend:
            raise InputError("strategy", "one that extends a trained network", "a trained network", "add init=checkpoint init.checkpoint=<file>")
        return new(tasks)
    if not strategy.extend:
        raise InputError("init.checkpoint", str(checkpoint), "a strategy that extends it", "add strategy=prompt_only or strategy=extend_full")
    return _extended(load_model(checkpoint), tasks, strategy, checkpoint)


def _extended(model: UniSegModel, tasks: TaskSet, strategy: Strategy, checkpoint: Path) -> UniSegModel:
    known = [task for task in tasks if task.name in model.tasks.names]
    for task in known:
        if task != model.tasks[model.tasks.position(task.name)]:
            raise InputError(f"task '{task.name}'", f"another definition than in {checkpoint}", "the same, or another name", "rename the new task")
    fresh = [task for task in tasks if task not in known]
    if not fresh or (known and strategy.trained == ADDED):
        names = ", ".join(task.name for task in known)
        raise InputError("tasks", f"{names}, which the network of {checkpoint} has", "new tasks to add", "correct the task list")
    model.extend(fresh, adapter_channels=strategy.adapter_channels)
    if strategy.trained == ADDED:
        model.freeze_base()
        model.added[: -len(fresh)].requires_grad_(False)
    return model.train()
