"""Callbacks of fine-tuning: what waits for its turn to train, and what training did to the tasks known before."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from uniseg.evaluation.forgetting import ForgettingReport, TaskChange
from uniseg.models.heads.base import label_scores
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import RunFolder
from uniseg.sampling.batch import Batch
from uniseg.training.fused import fill_momentum
from uniseg.training.sawtooth import TRUNK


class HeadsFirst(Callback):
    """Lets only the head train, with what was added, until ``num_steps`` steps are done; a resumed run does the same.

    Examples:
        >>> HeadsFirst(100).num_steps
        100
    """

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self._others: list[nn.Parameter] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The optimiser is made by then, with all parameters that train in the end."""
        model = pl_module.model
        head = {id(p) for part in (model.head, model.added) for p in part.parameters()}
        self._others = [p for p in model.parameters() if p.requires_grad and id(p) not in head]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        for p in self._others:
            p.requires_grad_(trainer.global_step >= self.num_steps)


class TrunkLater(Callback):
    """Keeps first convolutions and encoder of the base as they are during the first tooth of a sawtooth; a resumed run
    does the same. The second tooth begins with a new state of the optimiser.

    Args:
        first_tooth: number of steps of the run -> that of the first tooth.

    Examples:
        >>> TrunkLater(lambda num_steps: num_steps // 20).first_tooth(1000)
        50
    """

    def __init__(self, first_tooth: Callable[[int], int]) -> None:
        self.first_tooth = first_tooth
        self._trunk: list[nn.Parameter] = []
        self._alone = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._alone = self.first_tooth(pl_module.num_steps)
        self._trunk = [p for group in trainer.optimizers[0].param_groups if group.get(TRUNK) for p in group["params"]]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        for p in self._trunk:
            p.requires_grad_(trainer.global_step >= self._alone)
        if trainer.global_step == self._alone:
            trainer.optimizers[0].state.clear()
            fill_momentum(trainer.optimizers[0])


class StaleVerdict(Callback):
    """Removes the verdict on a fine-tuning when it, or its control, trains on.

    Examples:
        >>> StaleVerdict(Path("run/verdict.json")).path.name
        'verdict.json'
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.path.unlink(missing_ok=True)


class ForgettingReporter(Callback):
    """Writes the ``ForgettingReport`` at the end of training: how far the answers of the network's older tasks changed.

    The network before and after predicts every older task on the val windows of the run, which exist wherever a new
    task with val cases is trained; a task of another number of modalities gets the window's, repeated or cut.

    Args:
        former_model: loads the network before training.
        folder: gets the report.

    Examples:
        >>> from functools import partial
        >>> from uniseg.weights.checkpoint import load_model
        >>> ForgettingReporter(partial(load_model, "last.ckpt"), RunFolder(Path("run"))).path.name
        'old_tasks.json'
    """

    def __init__(self, former_model: Callable[[], UniSegModel], folder: RunFolder) -> None:
        self.former_model, self.path = former_model, folder.forgetting_report

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Each rank has its own part of the val windows; rank 0 reports on its part."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not data.val_steps:
            return
        batches = data.val_dataloader()
        images = (batch.image for batch in batches)
        changes_between(self.former_model().to(pl_module.device), pl_module.model, images).write(self.path)
        batches.close()


@torch.inference_mode()
def changes_between(before: UniSegModel, after: UniSegModel, images: Iterable[Tensor]) -> ForgettingReport:
    """How the logits of ``after`` on ``images``, each ``[B,M,Z,Y,X]``, differ from those of ``before``."""
    training = after.training
    after.eval()
    changes = {task.name: TaskChange(0.0, True, 0, 0) for task in before.tasks}
    for image in images:
        for task in before.tasks:
            channels = image[:, torch.arange(task.num_modalities) % image.shape[1]]
            old, new = (_logits(model, channels, task.name) for model in (before, after))
            labels = [label_scores(logits, task).argmax(1) for logits in (old, new)]
            change = changes[task.name]
            changes[task.name] = TaskChange(
                max(change.largest, (old - new).abs().max().item()),
                change.identical and torch.equal(old, new),
                change.num_voxels + labels[0].numel(),
                change.num_changed_voxels + int((labels[0] != labels[1]).sum()),
            )
    after.train(training)
    return ForgettingReport(changes)


def _logits(model: UniSegModel, image: Tensor, task_name: str) -> Tensor:
    return model(image, torch.full((len(image),), model.tasks.position(task_name)))[0]
