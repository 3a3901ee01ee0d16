"""How the task prompts grow apart while a network is trained."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from uniseg.evaluation.prompt_files import PromptEvolution
from uniseg.evaluation.prompts import batch_prompts, cosine_matrix
from uniseg.run_folder import RunFolder
from uniseg.sampling.batch import Batch

KEY = "prompts/similarity"


class PromptTracker(Callback):
    """Sees the first val batch of every validation, the same patches every time, and keeps the cosine matrix of its
    task prompts.

    Where several ranks train, the first one's part of the batch is seen. A network without prompts leaves no trace.

    Args:
        run_dir: gets ``prompts/evolution.npz``; a resumed run drops what was seen at or after its step.
        draw: picture ``[H,W,3]`` uint8 of a matrix ``[T,T]`` with the tasks' names, for each logger that takes images;
            None: loggers get none.

    Examples:
        >>> def draw(cosine: np.ndarray, names: Sequence[str]) -> np.ndarray:
        ...     return np.repeat((255 * cosine.clip(0, 1)).astype(np.uint8)[..., None], 3, axis=2)
        >>> PromptTracker("run", draw).path.name
        'evolution.npz'
    """

    def __init__(
        self, run_dir: str | Path, draw: Callable[[np.ndarray, Sequence[str]], np.ndarray] | None = None
    ) -> None:
        self.path = RunFolder(Path(run_dir)).prompt_evolution
        self.draw = draw

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx > 0 or trainer.sanity_checking or not trainer.is_global_zero:
            return
        with torch.no_grad():
            maps = batch_prompts(pl_module.model, batch.image, pl_module.task_indices[batch.task])
        if not len(maps):
            return
        cosine, names = cosine_matrix(maps).cpu().numpy(), pl_module.model.tasks.names
        evolution = PromptEvolution.load(self.path)
        if evolution is None or evolution.tasks.tolist() != list(names):
            evolution = PromptEvolution.empty(list(names))
        evolution.before(trainer.global_step).append(trainer.current_epoch, trainer.global_step, cosine).save(self.path)
        self._log(trainer, cosine, names)

    def _log(self, trainer: Trainer, cosine: np.ndarray, names: Sequence[str]) -> None:
        takers = [logger for logger in trainer.loggers if hasattr(logger, "log_image")]
        if takers and self.draw is not None:
            image = self.draw(cosine, names)
            for logger in takers:
                logger.log_image(KEY, [image], step=trainer.global_step)
