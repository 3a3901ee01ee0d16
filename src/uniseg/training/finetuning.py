"""Fine-tuning as one object: initialisation, what is frozen, the order and the rates of learning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from lightning import Callback
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from uniseg.errors import InputError
from uniseg.models.pretexts import without_pretexts
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import RunFolder
from uniseg.settings import CHANNELS, FRACTION, NOT_NEGATIVE, STEPS, bounded, check_fields, number, sequence, word
from uniseg.task import Task, TaskSet
from uniseg.training.callbacks.finetuning import ForgettingReporter, HeadsFirst, TrunkLater
from uniseg.training.initialize import InitializedModel
from uniseg.training.optimization import Optimization
from uniseg.training.sawtooth import Sawtooth, split_groups, warm_up
from uniseg.weights.checkpoint import load_model
from uniseg.weights.foreign.open import open_source
from uniseg.weights.norm_restoring import restore_norms
from uniseg.weights.transfer import SCOPES, transfer

ALL, ADDED = "all", "added"
PLAIN, WARM_UP, SAWTOOTH = "plain", "warmup", "sawtooth"


@dataclass(frozen=True)
class FineTuning:
    """What becomes of the weights of ``init.checkpoint``, and how they train on.

    Attributes:
        extend: its network stays and gets the run's new tasks; otherwise its weights go into the network of the
            configuration.
        adapter_channels: width of the adapters after the decoder's stages, where ``extend`` is true.
        trained: ``all``, or with ``extend`` ``added``: only what is added trains.
        transfer: what comes from there: ``encoder`` with first convolutions, ``encoder_decoder``, or ``all``, so
            prompts and head too where the tasks are the same.
        restore_norms: scale convolutions ahead of a norm to the norm that they were drawn with; the network computes
            the same, and a learning rate turns its weights as it turns new ones.
        freeze_encoder: first convolutions and encoder keep their weights.
        heads_first_steps: steps in which only the head trains, with what was added; not with a sawtooth.
        schedule: of the learning rate: ``plain`` (that of ``scheduler``), ``warmup``, or ``sawtooth``: what is new,
            decoder and head learn alone, then all of it, each with a ramp and a new state of the optimiser.
        sawtooth: fractions of the steps: ends of the first ramp, of the first tooth, of the second ramp.
        warmup: fraction of the steps in which all weights ramp.
        exponent: of the fall of ``warmup`` and ``sawtooth`` after a ramp.
        layer_decay: factor on the learning rate from each stage to the one before it, counted from the head; 1: none.

    Raises:
        InputError: a value out of bounds, an addition to train without one, or a transfer in parts where a network is
            extended.

    Examples:
        >>> FineTuning(extend=True, trained="added").layer_decay
        1.0
    """

    group: ClassVar[str] = "finetune"

    extend: bool = False
    adapter_channels: int = field(default=4, metadata=bounded(CHANNELS))
    trained: str = field(default=ALL, metadata=bounded(word(ALL, ADDED)))
    transfer: str = field(default=ALL, metadata=bounded(word(*SCOPES)))
    restore_norms: bool = False
    freeze_encoder: bool = False
    heads_first_steps: int = field(default=0, metadata=bounded(STEPS))
    schedule: str = field(default=PLAIN, metadata=bounded(word(PLAIN, WARM_UP, SAWTOOTH)))
    sawtooth: tuple[float, ...] = field(
        default=(0.025, 0.05, 0.1), metadata=bounded(sequence(FRACTION, length=3, ascending=True))
    )
    warmup: float = field(default=0.05, metadata=bounded(FRACTION))
    exponent: float = field(default=0.9, metadata=bounded(NOT_NEGATIVE))
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
        if self.heads_first_steps and self.schedule == SAWTOOTH:
            raise InputError(
                f"{self.group}.heads_first_steps",
                f"{self.heads_first_steps} with schedule={SAWTOOTH}",
                "one of them: a sawtooth's first tooth leaves the encoder out",
                f"leave {self.group}.heads_first_steps out, or choose schedule={WARM_UP}",
            )
        if self.extend and (self.restore_norms or self.transfer != ALL):
            raise InputError(
                f"{self.group}.extend",
                "true with restore_norms or a part to transfer",
                "a network that stays whole, bit for bit",
                f"leave {self.group}.restore_norms and {self.group}.transfer out",
            )

    @property
    def of_new_weights(self) -> "FineTuning":
        """What is left of it where there is no base: a warm-up that was asked for. A sawtooth needs a base, so that new
        weights learn by the scheduler; nothing of them is frozen, and no head learns on features that never learned.

        Examples:
            >>> [FineTuning(schedule=schedule).of_new_weights.schedule for schedule in ("warmup", "sawtooth")]
            ['warmup', 'plain']
        """
        schedule = WARM_UP if self.schedule == WARM_UP else PLAIN
        return FineTuning(schedule=schedule, warmup=self.warmup, exponent=self.exponent)

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
            extended = self._extend(without_pretexts(load_model(checkpoint)), tasks, checkpoint)
            return InitializedModel(self._frozen(extended), None)
        source = None if checkpoint is None else open_source(checkpoint)
        model = new_model(tasks)
        initialized = InitializedModel(model, None if source is None else transfer(model, source, self.transfer))
        if self.restore_norms and source is not None:
            initialized = replace(initialized, restored=restore_norms(model, initialized.fresh))
        self._frozen(model)
        return initialized

    def _frozen(self, model: UniSegModel) -> UniSegModel:
        if self.freeze_encoder:
            model.stem.requires_grad_(False)
            model.encoder.requires_grad_(False)
        return model

    def parameter_groups(
        self, model: UniSegModel, optimization: Optimization, fresh: frozenset[str] = frozenset()
    ) -> list[dict[str, Any]]:
        """What trains, by the distance from the head, with the learning rate of each stage; one group without decay.

        Args:
            fresh: parameters that did not come from the base as they are; with a sawtooth they learn first.
        """
        one_rate = self.layer_decay == 1
        groups = trained_groups(model, optimization) if one_rate else self._by_stage(model, optimization)
        return split_groups(groups, model, fresh) if self.schedule == SAWTOOTH else groups

    def scheduler(self, optimizer: Optimizer, num_steps: int, optimization: Optimization) -> LRScheduler:
        """Of an optimiser of ``parameter_groups``."""
        if self.schedule == SAWTOOTH:
            return self.teeth(num_steps).schedule(optimizer)
        if self.schedule == WARM_UP:
            return warm_up(optimizer, num_steps, fraction=self.warmup, exponent=self.exponent)
        return optimization.scheduler(optimizer, num_steps)

    def teeth(self, num_steps: int) -> Sawtooth:
        """Of a run of so many steps."""
        return Sawtooth.of(self.sawtooth, num_steps, self.exponent)

    def _by_stage(self, model: UniSegModel, optimization: Optimization) -> list[dict[str, Any]]:
        groups = []
        for distance, parts in enumerate(stages_from_head(model)):
            parameters = [p for part in parts for p in part.parameters() if p.requires_grad]
            groups += groups_by_factor(model, parameters, optimization.rate * self.layer_decay**distance)
        return groups

    def callbacks(self, former_model: Callable[[], UniSegModel], folder: RunFolder) -> list[Callback]:
        """What has to watch the training.

        Args:
            former_model: loads the network that was extended.
        """
        reporters: Sequence[Callback] = [ForgettingReporter(former_model, folder)] if self.extend else []
        return [
            *reporters,
            *([HeadsFirst(self.heads_first_steps)] if self.heads_first_steps else []),
            *([TrunkLater(lambda num_steps: self.teeth(num_steps).alone)] if self.schedule == SAWTOOTH else []),
        ]

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


def trained_groups(model: UniSegModel, optimization: Optimization) -> list[dict[str, Any]]:
    """All that trains as one group of an optimiser, but for what the conditioning has a factor on the rate for."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not lr_factors(model):
        return [{"params": parameters}]
    return groups_by_factor(model, parameters, optimization.rate)


def lr_factors(model: UniSegModel) -> dict[nn.Parameter, float]:
    """The conditioning's factors on the learning rate of single parameters, those of added tasks too."""
    factors = model.conditioning.lr_factors()
    for added in model.added:
        factors |= model.conditioning.added_lr_factors(added.own)
    return factors


def groups_by_factor(model: UniSegModel, parameters: Sequence[nn.Parameter], rate: float) -> list[dict[str, Any]]:
    """Some parameters at one rate, but for the conditioning's factors on it."""
    factors = lr_factors(model)
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(factors.get(parameter, 1.0), []).append(parameter)
    return [{"params": each, "lr": rate * factor} for factor, each in sorted(groups.items(), key=lambda g: g[0] != 1)]


def stages_from_head(model: UniSegModel) -> list[list[nn.Module]]:
    """The parts of the network by their distance from the head, which comes first with what was added; each once."""
    return [
        [model.head, model.added],
        *([stage] for stage in model.decoder.stages),
        [model.conditioning],
        *([stage] for stage in reversed(model.encoder.stages)),
        [model.stem],
    ]
