"""The network that a run begins with, and what of it trains."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.checkpoint import load_model
from uniseg.weights.foreign.open import open_source
from uniseg.weights.transfer import TransferReport, transfer

ALL, ADDED = "all", "added"


@dataclass(frozen=True)
class Strategy:
    """What becomes of the weights of ``init.checkpoint``.

    Attributes:
        extend: its network stays and gets the run's new tasks; otherwise its weights go into the network of the
            configuration.
        adapter_channels: of what is added.
        trained: ``all`` or ``added``.
        freeze_encoder: first convolutions and encoder keep their weights.
        heads_first_steps: steps in which only the head trains.
        layer_decay: factor on the learning rate from each stage to the one before it, counted from the head; 1: none.

    Raises:
        InputError: something else to train, or an addition to train without one.
    """

    extend: bool
    adapter_channels: int
    trained: str
    freeze_encoder: bool
    heads_first_steps: int
    layer_decay: float

    def __post_init__(self) -> None:
        if self.trained not in (ALL, ADDED) or (self.trained == ADDED and not self.extend):
            raise InputError(
                "strategy.trained",
                f"'{self.trained}'",
                f"{ALL}, or {ADDED} with strategy.extend=true",
                "choose strategy=full or prompt_only",
            )
        if not 0 < self.layer_decay <= 1:
            raise InputError("strategy.layer_decay", str(self.layer_decay), "above 0, at most 1", "correct the number")


@dataclass(frozen=True)
class Beginning:
    """A network before its first step; ``report`` says what came from elsewhere, None where nothing was transferred."""

    model: UniSegModel
    report: TransferReport | None


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers that train, numbers in all."""

    trained: int
    total: int


def parameter_counts(model: UniSegModel) -> ParameterCounts:
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return ParameterCounts(sum(n for n, trains in counts if trains), sum(n for n, _ in counts))


def start_model(
    new: Callable[[TaskSet], UniSegModel], tasks: TaskSet, checkpoint: Path | None, strategy: Strategy
) -> Beginning:
    """The network of a run, with its weights; those that never train ask for no gradient.

    Args:
        new: makes the network of the configuration.
        tasks: of the run's data.
        checkpoint: of a trained network, or None.

    Raises:
        InputError: checkpoint and strategy do not go together, the tasks do not go with the trained network, or weights
            do not fit.
    """
    if strategy.extend:
        if checkpoint is None:
            raise InputError(
                "strategy",
                "one that extends a trained network",
                "a trained network",
                "add init=checkpoint init.checkpoint=<file>",
            )
        return Beginning(_extended(load_model(checkpoint), tasks, strategy, checkpoint), None)
    source = open_source(checkpoint) if checkpoint is not None else None
    model = new(tasks)
    report = transfer(model, source) if source is not None else None
    if strategy.freeze_encoder:
        model.stem.requires_grad_(False)
        model.encoder.requires_grad_(False)
    return Beginning(model, report)


def _extended(model: UniSegModel, tasks: TaskSet, strategy: Strategy, checkpoint: Path) -> UniSegModel:
    known = [task for task in tasks if task.name in model.tasks.names]
    for task in known:
        if task != model.tasks[model.tasks.position(task.name)]:
            raise InputError(
                f"task '{task.name}'",
                f"another definition than in {checkpoint}",
                "the same, or another name",
                "rename the new task",
            )
    fresh = [task for task in tasks if task not in known]
    if not fresh or (known and strategy.trained == ADDED):
        names = ", ".join(task.name for task in known)
        raise InputError(
            "tasks", f"{names}, which the network of {checkpoint} has", "new tasks to add", "correct the task list"
        )
    model.extend(fresh, adapter_channels=strategy.adapter_channels)
    if strategy.trained == ADDED:
        model.freeze_base()
        model.added[: -len(fresh)].requires_grad_(False)
    return model.train()
