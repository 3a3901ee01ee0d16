"""Fine-tuning as one object: initialisation, what is frozen, the order and the rates of learning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lightning import Callback
from torch import nn

from uniseg.errors import InputError
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import RunFolder
from uniseg.settings import CHANNELS, STEPS, bounded, check_fields, number, word
from uniseg.task import Task, TaskSet
from uniseg.training.callbacks.finetuning import ForgettingReporter, HeadsFirst
from uniseg.training.initialize import InitializedModel
from uniseg.training.optimization import Optimization
from uniseg.weights.checkpoint import load_model
from uniseg.weights.foreign.open import open_source
from uniseg.weights.transfer import transfer

ALL, ADDED = "all", "added"


@dataclass(frozen=True)
class FineTuning:
    """What becomes of the weights of ``init.checkpoint``, and how they train on.

    Attributes:
        extend: its network stays and gets the run's new tasks; otherwise its weights go into the network of the
            configuration.
        adapter_channels: width of the adapters after the decoder's stages, where ``extend`` is true.
        trained: ``all``, or with ``extend`` ``added``: only what is added trains.
        freeze_encoder: first convolutions and encoder keep their weights.
        heads_first_steps: steps in which only the head trains.
        layer_decay: factor on the learning rate from each stage to the one before it, counted from the head; 1: none.

    Raises:
        InputError: a value out of bounds, or an addition to train without one.

    Examples:
        >>> FineTuning(extend=True, trained="added").layer_decay
        1.0
    """

    group: ClassVar[str] = "finetune"

    extend: bool = False
    adapter_channels: int = field(default=4, metadata=bounded(CHANNELS))
    trained: str = field(default=ALL, metadata=bounded(word(ALL, ADDED)))
    freeze_encoder: bool = False
    heads_first_steps: int = field(default=0, metadata=bounded(STEPS))
    layer_decay: float = field(default=1.0, metadata=bounded(number(above=0, most=1)))

    def __post_init__(self) -> None:
        check_fields(self)
        if self.trained == ADDED and not self.extend:
            raise InputError(
                f"{self.group}.trained",
                f"'{self.trained}'",
                f"{ALL}, or {ADDED} with {self.group}.extend=true",
                f"choose {self.group}=full or prompt_only",
            )

    def initialize_model(
        self, new_model: Callable[[TaskSet], UniSegModel], tasks: TaskSet, checkpoint: Path | None
    ) -> InitializedModel:
        """The network of a run, with its weights; those that never train ask for no gradient.

        Args:
            new_model: makes the network of the configuration.
            tasks: of the run's data.
            checkpoint: of a trained network; None: new weights.

        Raises:
            InputError: an extension without a checkpoint; tasks that do not go with the trained network; weights that
                do not fit.
        """
        if self.extend:
            if checkpoint is None:
                fix = "add init=checkpoint init.checkpoint=<file>"
                raise InputError(self.group, "an extension of a trained network", "a trained network", fix)
            return InitializedModel(self._extend(load_model(checkpoint), tasks, checkpoint), None)
        source = None if checkpoint is None else open_source(checkpoint)
        model = new_model(tasks)
        report = None if source is None else transfer(model, source)
        if self.freeze_encoder:
            model.stem.requires_grad_(False)
            model.encoder.requires_grad_(False)
        return InitializedModel(model, report)

    def parameter_groups(self, model: UniSegModel, optimization: Optimization) -> list[dict[str, Any]]:
        """What trains, by the distance from the head, with the learning rate of each stage; one group without decay."""
        if self.layer_decay == 1:
            return trained_group(model)
        groups = []
        for distance, parts in enumerate(stages_from_head(model)):
            parameters = [p for part in parts for p in part.parameters() if p.requires_grad]
            if parameters:
                groups.append({"params": parameters, "lr": optimization.rate * self.layer_decay**distance})
        return groups

    def callbacks(self, former_model: Callable[[], UniSegModel], folder: RunFolder) -> list[Callback]:
        """What has to watch the training.

        Args:
            former_model: loads the network that was extended.
        """
        reporters: Sequence[Callback] = [ForgettingReporter(former_model, folder)] if self.extend else []
        return [*reporters, *([HeadsFirst(self.heads_first_steps)] if self.heads_first_steps else [])]

    def _extend(self, model: UniSegModel, tasks: TaskSet, checkpoint: Path) -> UniSegModel:
        new = self._new_tasks(model, tasks, checkpoint)
        model.extend(new, adapter_channels=self.adapter_channels)
        if self.trained == ADDED:
            model.freeze_base()
            model.added[: -len(new)].requires_grad_(False)
        return model.train()

    def _new_tasks(self, model: UniSegModel, tasks: TaskSet, checkpoint: Path) -> list[Task]:
        known = [task for task in tasks if task.name in model.tasks.names]
        for task in known:
            if task != model.tasks[model.tasks.position(task.name)]:
                raise InputError(
                    f"task '{task.name}'",
                    f"another definition than in {checkpoint}",
                    "the same, or another name",
                    "rename the new task",
                )
        new = [task for task in tasks if task not in known]
        if not new or (known and self.trained == ADDED):
            names = ", ".join(task.name for task in known)
            raise InputError(
                "tasks", f"{names}, which the network of {checkpoint} has", "new tasks to add", "correct the task list"
            )
        return new


def trained_group(model: UniSegModel) -> list[dict[str, Any]]:
    """All that trains as one group of an optimiser."""
    return [{"params": [p for p in model.parameters() if p.requires_grad]}]


def stages_from_head(model: UniSegModel) -> list[list[nn.Module]]:
    """The parts of the network by their distance from the head, which comes first with what was added; each once."""
    return [
        [model.head, model.added],
        *([stage] for stage in model.decoder.stages),
        [model.conditioning],
        *([stage] for stage in reversed(model.encoder.stages)),
        [model.stem],
    ]
