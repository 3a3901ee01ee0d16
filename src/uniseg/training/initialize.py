"""The network that a run begins with, and what of it trains."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.training.finetuning import ADDED, FineTuning
from uniseg.weights.checkpoint import load_model
from uniseg.weights.foreign.open import open_source
from uniseg.weights.transfer import transfer
from uniseg.weights.transfer_report import TransferReport


@dataclass(frozen=True)
class InitSettings:
    """Where a run's first weights come from.

    Attributes:
        checkpoint: a training checkpoint, an exported folder or a file of another project; None: new weights.
        dry_run: report what would become of every tensor, and train nothing.
    """

    group: ClassVar[str] = "init"

    checkpoint: str | None = None
    dry_run: bool = False


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
    new: Callable[[TaskSet], UniSegModel], tasks: TaskSet, checkpoint: Path | None, finetuning: FineTuning
) -> Beginning:
    """The network of a run, with its weights; those that never train ask for no gradient.

    Args:
        new: makes the network of the configuration.
        tasks: of the run's data.
        checkpoint: of a trained network, or None.

    Raises:
        InputError: checkpoint and finetuning do not go together, the tasks do not go with the trained network, or
            weights do not fit.
    """
    if finetuning.extend:
        if checkpoint is None:
            raise InputError(
                "finetune",
                "one that extends a trained network",
                "a trained network",
                "add init=checkpoint init.checkpoint=<file>",
            )
        return Beginning(_extended(load_model(checkpoint), tasks, finetuning, checkpoint), None)
    source = open_source(checkpoint) if checkpoint is not None else None
    model = new(tasks)
    report = transfer(model, source) if source is not None else None
    if finetuning.freeze_encoder:
        model.stem.requires_grad_(False)
        model.encoder.requires_grad_(False)
    return Beginning(model, report)


def _extended(model: UniSegModel, tasks: TaskSet, finetuning: FineTuning, checkpoint: Path) -> UniSegModel:
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
    if not fresh or (known and finetuning.trained == ADDED):
        names = ", ".join(task.name for task in known)
        raise InputError(
            "tasks", f"{names}, which the network of {checkpoint} has", "new tasks to add", "correct the task list"
        )
    model.extend(fresh, adapter_channels=finetuning.adapter_channels)
    if finetuning.trained == ADDED:
        model.freeze_base()
        model.added[: -len(fresh)].requires_grad_(False)
    return model.train()
