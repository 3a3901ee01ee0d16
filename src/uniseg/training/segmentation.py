"""The training and validation steps that upstream training and fine-tuning share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from lightning import LightningModule
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from uniseg.losses.deep_supervision import DeepSupervision
from uniseg.metrics.overlap import ClassCounts, count_classes
from uniseg.models.heads.base import label_scores
from uniseg.models.uniseg import UniSegModel
from uniseg.pretext.base import Objective
from uniseg.pretext.objectives import MixedLoss, find_objectives
from uniseg.sampling.batch import Batch
from uniseg.task import Task, TaskSet
from uniseg.training.callbacks.finite_loss import gradient_scaler
from uniseg.training.epoch_losses import EpochLosses
from uniseg.training.fused import ambiguous, fill_momentum, match_strides
from uniseg.training.optimization import Optimization, optimization_of
from uniseg.training.resume import follow_settings
from uniseg.training.run_record import KEY as RECORD
from uniseg.training.run_record import RunRecord
from uniseg.weights.build import require_loadable
from uniseg.weights.checkpoint import KEY, describe_model, model_of_checkpoint, read_checkpoint
from uniseg.weights.reading import reading


@dataclass(frozen=True)
class RunHistory:
    """What a checkpoint says of the run besides the weights.

    Attributes:
        data: task name -> plain facts about its data (cases per split, licence), of all that the network has seen.
        commit: of the code that trains; empty where it is not known.
        record: what the run is recognised by when it is resumed.
        extra_steps: that a resumed run has done in epochs of another length, beyond those of its own length.
        mirror_axes: that its scans are mirrored along when it is scored.

    Examples:
        >>> RunHistory(commit="1a2b3c").extra_steps
        0
    """

    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    commit: str = ""
    record: RunRecord | None = None
    extra_steps: int = 0
    mirror_axes: tuple[int, ...] = ()


class SegmentationModule(LightningModule):
    """Trains a ``UniSegModel`` on batches of mixed tasks.

    Args:
        model: the network.
        tasks: of the data, whose batches name a task by its index here; the network may know more.
        optimization: None: nnU-Net's loss, optimiser and schedule.
        objectives: of pretext tasks, by name; None: ours with their defaults.

    Attributes:
        history: goes into every checkpoint.
        train_losses, val_losses: of the epoch so far; ``EpochMeans`` logs the first.

    Examples:
        >>> class HeadModule(SegmentationModule):
        ...     def parameter_groups(self) -> list[dict[str, Any]]:
        ...         return [{"params": list(self.model.head.parameters())}]
    """

    def __init__(
        self,
        model: UniSegModel,
        *,
        tasks: TaskSet,
        optimization: Optimization | None = None,
        objectives: Mapping[str, Objective] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.task_indices = torch.tensor([model.tasks.position(task.name) for task in tasks])
        self.optimization = optimization or Optimization()
        self.loss: nn.Module = DeepSupervision(self.optimization.loss)
        if found := find_objectives(tasks, objectives):
            self.loss = MixedLoss(self.loss, found)
        self.history = RunHistory()
        self.train_losses, self.val_losses = (EpochLosses(f"{split}/loss", tasks.names) for split in ("train", "val"))
        self.val_counts: dict[int, ClassCounts] = {}
        self._ambiguous: list[nn.Parameter] = []

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # ours describe the network instead of pickling its maker
        cls, checkpoint_path: str | Path, map_location: torch.device | str | None = None, **settings: Any
    ) -> Self:
        """The module of a checkpoint of ``uniseg.train`` or ``fit``: network, weights, tasks, history.

        Args:
            map_location: device that it moves to.
            settings: arguments of the class in place of the checkpoint's.

        Raises:
            InputError: unreadable, or not one of ours.
        """
        content = read_checkpoint(checkpoint_path)
        model = model_of_checkpoint(content, checkpoint_path)
        values, tasks = content[KEY].get(RECORD), model.tasks
        with reading(checkpoint_path, "a record of a run", "give the original file"):
            record = None if values is None else RunRecord.from_dict(values)
            if record is not None:
                tasks = TaskSet(tasks[tasks.position(name)] for name in record.order)
            saved = {"tasks": tasks, **cls._settings_of(record)}
        module = cls(model.train(), **{**saved, **settings})
        origin = model.provenance
        module.history = RunHistory(origin.data, origin.commit, record, mirror_axes=origin.mirror_axes)
        return module if map_location is None else module.to(map_location)

    @classmethod
    def _settings_of(cls, record: RunRecord | None) -> dict[str, Any]:
        """Arguments of the class as a checkpoint holds them."""
        return {"optimization": None if record is None else optimization_of(record.settings)}

    def forward(self, image: Tensor, task: Tensor) -> list[Tensor]:
        return self.model(image, task)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        task_index = self.task_indices[batch.task]
        losses = self.loss(self(batch.image, task_index), batch.label, self._tasks(task_index), *batch.values)
        self.train_losses.add(losses, batch.task.tolist())
        if batch.loss_weight is not None:
            losses = losses * batch.loss_weight.to(losses.device)
        return losses.mean()

    def on_validation_epoch_start(self) -> None:
        self.val_counts = {}
        self.val_losses.clear()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        task_index = self.task_indices[batch.task]
        logits, tasks = self(batch.image, task_index), self._tasks(task_index)
        self.val_losses.add(self.loss(logits, batch.label, tasks, *batch.values), batch.task.tolist())
        for index, task, sample, label in zip(task_index.tolist(), tasks, logits[0], batch.label, strict=True):
            if task.is_pretext:
                continue
            counts = count_classes(label_scores(sample, task).argmax(0), label, task.membership)
            before = self.val_counts.get(index)
            self.val_counts[index] = counts if before is None else before + counts

    def on_validation_epoch_end(self) -> None:
        """Pseudo-Dice (nnU-Net): counts summed over all val patches of all ranks, then one Dice per class."""
        self.val_losses.reduce(self.trainer)
        losses = self.val_losses.means()
        if (loss := losses.get(self.val_losses.key)) is not None:
            self.log(self.val_losses.key, loss, prog_bar=True)
        means = []
        for index in self.task_indices.tolist():
            task = self.model.tasks[index]
            if task.is_pretext:  # its loss is all that tells of it
                key = f"{self.val_losses.key}/{task.name}"
                self.log(key, losses.get(key, math.nan))
                continue
            counts = self.val_counts.get(index, ClassCounts.zero(task.num_classes, self.device))
            dice = ClassCounts(self.trainer.strategy.reduce(counts.values, reduce_op="sum")).dice()
            for name, value in zip(task.classes[1:], dice.tolist(), strict=True):
                self.log(f"val/pseudo_dice/{task.name}/{name}", value, rank_zero_only=True)
            means.append(dice.nanmean())
        if means:
            self.log("val/pseudo_dice", torch.stack(means).nanmean(), prog_bar=True, rank_zero_only=True)

    def on_fit_start(self) -> None:
        """
        Raises:
            InputError: checkpoints would be written from which the network could not be loaded again.
        """
        if self.trainer.checkpoint_callbacks:
            require_loadable(self.model)

    def on_fit_end(self) -> None:
        """A recorded step holds gigabytes that predictions after the training may want."""
        if self.model.graphs is not None:
            self.model.graphs.clear()

    def configure_optimizers(self) -> dict:  # type: ignore[override]
        optimizer = self.new_optimizer()
        fill_momentum(optimizer)
        self._ambiguous = ambiguous(optimizer)
        scheduler = self.new_scheduler(optimizer, self.num_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @property
    def num_steps(self) -> int:
        """Of the optimiser, in the whole run."""
        return int(self.trainer.estimated_stepping_batches) + self.history.extra_steps

    def new_scheduler(self, optimizer: torch.optim.Optimizer, num_steps: int) -> LRScheduler:
        """Stepped after every step of ``optimizer``."""
        return self.optimization.scheduler(optimizer, num_steps)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        match_strides(self._ambiguous)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As Lightning, but for fused optimisers under mixed precision, which it refuses.

        Their gradients are unscaled here; torch's scaler takes note of it.
        """
        if gradient_clip_val and getattr(optimizer, "_step_supports_amp_scaling", False):
            if scaler := gradient_scaler(self.trainer):
                scaler.unscale_(optimizer)
            parameters = self.trainer.precision_plugin.main_params(optimizer)
            by_value = gradient_clip_algorithm == GradClipAlgorithmType.VALUE
            (nn.utils.clip_grad_value_ if by_value else nn.utils.clip_grad_norm_)(parameters, gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def new_optimizer(self) -> torch.optim.Optimizer:
        return self.optimization.optimizer(self.parameter_groups())

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What trains, grouped by learning rate, as a torch optimiser takes it."""
        raise NotImplementedError

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        of_run = {"data": self.history.data, "commit": self.history.commit, "mirror_axes": self.history.mirror_axes}
        provenance = replace(self.model.provenance, **of_run, scores={})  # scores were those of the weights before
        checkpoint[KEY] = describe_model(self.model, checkpoint["state_dict"]) | provenance.to_dict()
        if self.history.record:
            checkpoint[KEY][RECORD] = self.history.record.to_dict()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        follow_settings(checkpoint, self.new_optimizer())
        self.model.set_norm_eps(checkpoint[KEY]["model"].get("norm_eps", {}))

    def _tasks(self, task_index: Tensor) -> list[Task]:
        return [self.model.tasks[index] for index in task_index.tolist()]
