"""Keeps what a network gives back of the first hidden patch of every validation, for the report."""

import torch
from lightning import Callback, LightningModule, Trainer

from uniseg.evaluation.reconstruction_file import ReconstructedPatch
from uniseg.run_folder import RunFolder
from uniseg.sampling.batch import Batch


class ReconstructionPictures(Callback):
    """For each pretext task with values to give back, the first sample of a validation, the same one every time.

    One more forward pass of one patch per task and validation, on the first rank.

    Args:
        folder: of the run; gets ``pretext/<task>.npz``.

    Examples:
        >>> from pathlib import Path
        >>> ReconstructionPictures(RunFolder(Path("run"))).folder.reconstruction("scans_mae").name
        'scans_mae.npz'
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._seen: set[int] = set()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seen = set()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        targets = batch.reconstruction
        if targets is None or trainer.sanity_checking or not trainer.is_global_zero:
            return
        for place, row in enumerate(targets.rows):
            index = int(pl_module.task_indices[batch.task[row]])
            if index in self._seen:
                continue
            self._seen.add(index)
            image = batch.image[row : row + 1]
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                given = pl_module.model(image, torch.tensor([index]))[0]
            task = pl_module.model.tasks[index]
            volumes = [targets.target[place, 0], image[0, 0], given[0, 0], targets.counted[place, 0]]
            ReconstructedPatch.of(
                [volume.float().cpu().numpy() for volume in volumes],
                task.name,
                batch.case_ids[row],
                task.modalities[0],
                trainer.global_step,
                task.spacing_mm,
            ).save(self.folder.reconstruction(task.name))
