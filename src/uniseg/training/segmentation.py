"""The steps that upstream and downstream training share."""

from collections.abc import Callable, Iterable, Sequence

import torch
from lightning import LightningModule
from torch import Tensor, nn

from uniseg.losses.deep_supervision import DeepSupervision
from uniseg.metrics.overlap import ClassCounts, count_classes
from uniseg.models.heads.base import label_scores
from uniseg.models.uniseg import UniSegModel
from uniseg.stream.batch import Batch
from uniseg.task import Task, TaskSet
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
        data_facts: task name -> plain facts about its data (cases per side, licence), carried into the checkpoint.
        commit: of the code that trains, carried along; empty where it is not known.
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
    ) -> None:
        super().__init__()
        self.model = model
        self.positions = torch.tensor([model.tasks.position(task.name) for task in tasks])
        self.loss = DeepSupervision(loss)
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.data_facts = data_facts
        self.commit = commit
        self.dev_counts: dict[int, ClassCounts] = {}

    def forward(self, image: Tensor, task: Tensor) -> list[Tensor]:
        return self.model(image, task)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        asked = self.positions[batch.task]
        losses = self.loss(self(batch.image, asked), batch.label, self._tasks(asked))
        self._log_per_task("train/loss", losses.detach(), asked)
        loss = losses.mean()
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, prog_bar=True, batch_size=len(losses), sync_dist=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.dev_counts = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        asked = self.positions[batch.task]
        logits, tasks = self(batch.image, asked), self._tasks(asked)
        losses = self.loss(logits, batch.label, tasks)
        self.log("val/loss", losses.mean(), on_step=False, on_epoch=True, prog_bar=True, batch_size=len(losses), sync_dist=True)
        for position, task, own, label in zip(asked.tolist(), tasks, logits[0], batch.label, strict=True):
            counts = count_classes(label_scores(own, task).argmax(0), label, task.membership)
            before = self.dev_counts.get(position)
            self.dev_counts[position] = counts if before is None else before + counts

    def on_validation_epoch_end(self) -> None:
        """Pseudo-Dice (nnU-Net): counts summed over all dev patches of all ranks, then one Dice per class."""
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
        optimizer = self.make_optimizer(self.trained_parameters())
        scheduler = self.make_scheduler(optimizer, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def trained_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.parameters() if p.requires_grad]

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint[KEY] = describe_model(self.model) | {"data": self.data_facts, "commit": self.commit}

    def _tasks(self, asked: Tensor) -> list[Task]:
        return [self.model.tasks[position] for position in asked.tolist()]

    def _log_per_task(self, name: str, losses: Tensor, tasks: Tensor) -> None:
        positions: Sequence[int] = tasks.tolist()
        for position in sorted(set(positions)):
            own = losses[[i for i, p in enumerate(positions) if p == position]]
            self.log(f"{name}/{self.model.tasks[position].name}", own.mean(), on_step=False, on_epoch=True, batch_size=len(own))
