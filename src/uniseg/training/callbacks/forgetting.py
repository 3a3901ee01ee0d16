"""What training did to the tasks that the network knew before."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from uniseg.evaluation.forgetting import ForgettingReport, TaskChange
from uniseg.models.heads.base import label_scores
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import RunFolder


class OldTasks(Callback):
    """Writes ``old_tasks.json`` when the training is over: how far the answers of the tasks of the network ``before``
    moved.

    Both networks are asked every old task on the val windows of the run, at hand wherever the new task is trained; a
    task of another number of modalities gets the window's repeated or cut to its own.
    """

    def __init__(self, before: Callable[[], UniSegModel], run_dir: Path) -> None:
        self.before, self.path = before, RunFolder(run_dir).forgetting_report

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The stream of val windows is each rank's own part; rank 0 asks on its part."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        raw = (data.on_before_batch_transfer(batch, 0) for batch in data.val_dataloader())
        images = (data.on_after_batch_transfer(batch.to(pl_module.device), 0).image for batch in raw)
        changes_between(self.before().to(pl_module.device), pl_module.model, images).write(self.path)


@torch.inference_mode()
def changes_between(before: UniSegModel, after: UniSegModel, images: Iterable[Tensor]) -> ForgettingReport:
    """How the logits of ``after`` on ``images``, each ``[B,M,Z,Y,X]``, differ from those of ``before``."""
    training = after.training
    after.eval()
    changes = {task.name: TaskChange(0.0, True, 0, 0) for task in before.tasks}
    for image in images:
        for task in before.tasks:
            own = image[:, torch.arange(task.num_modalities) % image.shape[1]]
            old, new = (
                model(own, torch.full((len(own),), model.tasks.position(task.name)))[0] for model in (before, after)
            )
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
