"""The steps that upstream and downstream training share."""

from collections.abc import Callable, Iterable, Sequence

import torch
from lightning import LightningModule
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor, nn

from uniseg.losses.deep_supervision import DeepSupervision
from uniseg.metrics.overlap import ClassCounts, count_classes
from uniseg.models.heads.base import label_scores
from uniseg.models.uniseg import UniSegModel
from uniseg.sampling.batch import Batch
from uniseg.task import Task, TaskSet
from uniseg.training.callbacks.finite_loss import gradient_scaler
from uniseg.training.resume import RECORD, RunRecord, follow_settings
from uniseg.weights.build import require_loadable
from uniseg.weights.checkpoint import KEY, describe_model

Parameters = Iterable[nn.Parameter]


class SegmentationModule(LightningModule):
    """Trains a ``UniSegModel`` on batches of mixed tasks.

    Args:
        model: the network.
        tasks: of the data, whose batches name a task by its position here; the network may know more.
        loss: per sample ``[B]`` from logits, label, tasks; used at every scale.
        optimizer: called with the parameters.
        scheduler: called with the optimizer and ``num_steps`` (of the whole run), stepped after every step.
        data_facts: task name -> plain facts about its data (cases per split, licence), carried into the checkpoint.
        commit: of the code that trains, carried along; empty where it is not known.
        extra_steps: that a run which goes on has done in epochs of another length, beyond those of its own length.
    """

    def __init__(
        self,
        model: UniSegModel,
        *,
        tasks: TaskSet,
        loss: nn.Module,
        optimizer: Callable[[Parameters], torch.optim.Optimizer],
        scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler],
        data_facts: dict[str, dict],
        commit: str = "",
        extra_steps: int = 0,
    ) -> None:
        super().__init__()
        require_loadable(model)
        self.model = model
        self.positions = torch.tensor([model.tasks.position(task.name) for task in tasks])
        self.loss = DeepSupervision(loss)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.data_facts = data_facts
        self.commit = commit
        self.extra_steps = extra_steps
        self.record: RunRecord | None = None  # what the run is recognised by when it goes on
        self.dev_counts: dict[int, ClassCounts] = {}

    def forward(self, image: Tensor, task: Tensor) -> list[Tensor]:
        return self.model(image, task)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        asked = self.positions[batch.task]
        losses = self.loss(self(batch.image, asked), batch.label, self._tasks(asked))
        self._log_per_task("train/loss", losses.detach(), asked)
        self._log_mean("train/loss", losses.detach(), prog_bar=True, sync_dist=True)
        return losses.mean()

    def on_validation_epoch_start(self) -> None:
        self.dev_counts = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        asked = self.positions[batch.task]
        logits, tasks = self(batch.image, asked), self._tasks(asked)
        losses = self.loss(logits, batch.label, tasks)
        self._log_mean("val/loss", losses, prog_bar=True, sync_dist=True)
        for position, task, own, label in zip(asked.tolist(), tasks, logits[0], batch.label, strict=True):
            counts = count_classes(label_scores(own, task).argmax(0), label, task.membership)
            before = self.dev_counts.get(position)
            self.dev_counts[position] = counts if before is None else before + counts

    def on_validation_epoch_end(self) -> None:
        """Pseudo-Dice (nnU-Net): counts summed over all val patches of all ranks, then one Dice per class."""
        means = []
        for position in self.positions.tolist():
            task = self.model.tasks[position]
            own = self.dev_counts.get(position, ClassCounts.zero(task.num_classes, self.device))
            dice = ClassCounts(self.trainer.strategy.reduce(own.values, reduce_op="sum")).dice()
            for name, value in zip(task.classes[1:], dice.tolist(), strict=True):
                self.log(f"val/pseudo_dice/{task.name}/{name}", value, rank_zero_only=True)
            means.append(dice.nanmean())
        self.log("val/pseudo_dice", torch.stack(means).nanmean(), prog_bar=True, rank_zero_only=True)

    def configure_optimizers(self) -> dict:
        optimizer = self.new_optimizer()
        scheduler = self.make_scheduler(optimizer, self.trainer.estimated_stepping_batches + self.extra_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

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
        return self.make_optimizer(self.trained_parameters())

    def trained_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.parameters() if p.requires_grad]

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint[KEY] = describe_model(self.model, checkpoint["state_dict"]) | {
            "data": self.data_facts,
            "commit": self.commit,
        }
        if self.record:
            checkpoint[KEY][RECORD] = self.record.to_dict()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        follow_settings(checkpoint, self.new_optimizer())

    def _tasks(self, asked: Tensor) -> list[Task]:
        return [self.model.tasks[position] for position in asked.tolist()]

    def _log_per_task(self, name: str, losses: Tensor, tasks: Tensor) -> None:
        positions: Sequence[int] = tasks.tolist()
        for position in sorted(set(positions)):
            own = losses[[i for i, p in enumerate(positions) if p == position]]
            self._log_mean(f"{name}/{self.model.tasks[position].name}", own)

    def _log_mean(self, name: str, losses: Tensor, **how: bool) -> None:
        """The epoch's mean over the samples whose loss is finite; counted on the device, which nothing waits for."""
        finite = torch.isfinite(losses)
        count = finite.sum()
        mean = torch.where(finite, losses, 0).sum() / count.clamp(min=1)
        self.log(name, mean, on_step=False, on_epoch=True, batch_size=count, **how)
