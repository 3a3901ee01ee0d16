"""How the task prompts grow apart while a network is trained, whether they see the image, how its weights grow."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from uniseg.evaluation.health import LOW_IMAGE_SHARE, NetworkHealth, dead_channels, image_shares, weight_growth
from uniseg.evaluation.prompt_files import PromptEvolution
from uniseg.evaluation.prompts import cosine_matrix
from uniseg.run_folder import RunFolder
from uniseg.sampling.batch import Batch

KEY = "prompts/similarity"
SHARE, DEAD = "prompts/image_share", "bottleneck/dead_channels"
GROWTH_MEDIAN, GROWTH_MAX = "norms/growth_median", "norms/growth_max"
MOST_WINDOWS = 16  # that a validation measures

log = logging.getLogger(__name__)


class PromptTracker(Callback):
    """Sees the first windows of every validation, the same ones every time.

    It keeps the cosine matrix of the task prompts of the first batch; over the first ``MOST_WINDOWS`` windows the
    fraction of the prompts' variance that comes from the image (``prompts/image_share``) and the fraction of
    bottleneck channels that no image changes (``bottleneck/dead_channels``); how much the weights ahead of a norm have
    grown (``norms/growth_median``, ``norms/growth_max``). Numbers leave the device once, at the validation's end.

    Where several ranks train, the first one's part of the batches is seen. A network without prompts has no
    ``prompts/`` values.

    Args:
        run_dir: gets ``prompts/evolution.npz`` and ``prompts/health.npz``; a resumed run drops what was seen at or
            after its step.
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
        folder = RunFolder(Path(run_dir))
        self.path, self.health_path = folder.prompt_evolution, folder.health
        self.draw = draw
        self._prompts: list[Tensor] = []
        self._bottlenecks: list[Tensor] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._prompts, self._bottlenecks = [], []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or sum(map(len, self._bottlenecks)) >= MOST_WINDOWS:
            return
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            encoded = pl_module.model.encode(batch.image, pl_module.task_indices[batch.task])
            self._prompts.append(pl_module.model.task_prompts(encoded).transpose(0, 1))
            self._bottlenecks.append(encoded.bottleneck)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._bottlenecks:
            return
        prompts, bottleneck = torch.cat(self._prompts, dim=1), torch.cat(self._bottlenecks)
        if len(prompts):
            self._keep_similarity(trainer, self._prompts[0], pl_module.model.tasks.names)
        self._keep_health(trainer, pl_module, prompts, bottleneck)
        self._prompts, self._bottlenecks = [], []

    def _keep_similarity(self, trainer: Trainer, maps: Tensor, names: Sequence[str]) -> None:
        cosine = cosine_matrix(maps).cpu().numpy()
        evolution = PromptEvolution.load(self.path)
        if evolution is None or evolution.tasks.tolist() != list(names):
            evolution = PromptEvolution.empty(list(names))
        evolution.before(trainer.global_step).append(trainer.current_epoch, trainer.global_step, cosine).save(self.path)
        takers = [logger for logger in trainer.loggers if hasattr(logger, "log_image")]
        if takers and self.draw is not None:
            image = self.draw(cosine, names)
            for logger in takers:
                logger.log_image(KEY, [image], step=trainer.global_step)

    def _keep_health(self, trainer: Trainer, pl_module: LightningModule, prompts: Tensor, bottleneck: Tensor) -> None:
        tasks, growth = list(pl_module.model.tasks.names) if len(prompts) else [], weight_growth(pl_module.model)
        health = NetworkHealth.load(self.health_path)
        if health is None or not health.is_of(tasks, list(growth)):
            health = NetworkHealth.empty(tasks, list(growth))
        before = health.before(trainer.global_step)
        several = len(bottleneck) > 1
        share, shares, dead = torch.tensor(np.nan), torch.full((len(tasks),), np.nan), torch.tensor(np.nan)
        if several:
            dead = dead_channels(bottleneck)
        if several and tasks:
            share, shares = image_shares(prompts)
        after = before.append(
            trainer.current_epoch,
            trainer.global_step,
            image_share=share.item(),
            task_image_share=shares.tolist(),
            dead_channels=dead.item(),
            growth=torch.stack(list(growth.values())).tolist() if growth else [],
        )
        after.save(self.health_path)
        for name, value in _values(after).items():
            pl_module.log(name, value, rank_zero_only=True)
        if pl_module.model.conditioning.sees_image and _falls(before.last_image_share, after.last_image_share):
            log.warning(
                "task prompts hardly see the image any more: %s %.1e, below %s; a lower learning rate, SGD, or "
                "fewer strides, so a larger bottleneck, keep them alive",
                SHARE,
                after.last_image_share,
                LOW_IMAGE_SHARE,
            )


def _values(health: NetworkHealth) -> dict[str, float]:
    """What is logged of the last row; what was not measured is left out."""
    shares = zip(health.tasks.tolist(), health.task_image_share[-1].tolist(), strict=True)
    values = {SHARE: health.last_image_share, **{f"{SHARE}/{task}": share for task, share in shares}}
    values[DEAD] = float(health.dead_channels[-1])
    if len(health.layers):
        values |= {GROWTH_MEDIAN: float(np.median(health.growth[-1])), GROWTH_MAX: float(health.growth[-1].max())}
    return {name: value for name, value in values.items() if not np.isnan(value)}


def _falls(before: float, after: float) -> bool:
    return after < LOW_IMAGE_SHARE and not before < LOW_IMAGE_SHARE
