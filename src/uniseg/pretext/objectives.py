"""Which objectives there are, and the loss of a batch that holds samples of them."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from uniseg.device_copy import merge_rows, take_rows
from uniseg.errors import InputError
from uniseg.pretext.base import Objective, Reconstruction
from uniseg.pretext.mae import MaskedAutoencoding
from uniseg.pretext.supervoxel import Supervoxel
from uniseg.pretext.volume_fusion import VolumeFusion
from uniseg.task import Task

OBJECTIVES: dict[str, type[Objective]] = {
    "mae": MaskedAutoencoding,
    "volume_fusion": VolumeFusion,
    "supervoxel": Supervoxel,
}


def find_objectives(
    tasks: Sequence[Task], given: Mapping[str, Objective] | None, patch_size: Sequence[int] | None = None
) -> dict[str, Objective]:
    """The objectives of the pretext tasks among ``tasks``, by name.

    Args:
        given: those with settings; of others that are ours the defaults are taken.
        patch_size: that they are applied to; None: nothing is checked of it, nor of the tasks.

    Raises:
        InputError: a name that is no objective's, or an objective that does not fit its task or the patch.
    """
    found: dict[str, Objective] = {}
    for task in tasks:
        if not task.is_pretext:
            continue
        name = str(task.objective)
        objective = (given or {}).get(name) or (OBJECTIVES[name]() if name in OBJECTIVES else None)
        if not isinstance(objective, Objective):
            names, fix = ", ".join(sorted({*OBJECTIVES, *(given or {})})), "correct objective in the task file"
            raise InputError(f"task '{task.name}'", f"objective '{name}'", f"one of {names}", fix)
        if patch_size is not None:
            objective.check(task, patch_size)
        found[name] = objective
    return found


class MixedLoss(nn.Module):
    """The loss of a batch that mixes segmentations with pretext tasks: each objective sees its own samples alone.

    Args:
        segmentation: of logits, label, tasks -> ``[B]``.
        objectives: by name.

    Examples:
        >>> from uniseg.losses.deep_supervision import DeepSupervision
        >>> from uniseg.losses.dice_ce import DiceCELoss
        >>> segmentation = DeepSupervision(DiceCELoss(dice_weight=1, ce_weight=1))
        >>> list(MixedLoss(segmentation, {"mae": MaskedAutoencoding()}).objectives)
        ['mae']
    """

    def __init__(self, segmentation: nn.Module, objectives: Mapping[str, Objective]) -> None:
        super().__init__()
        self.segmentation = segmentation
        self.objectives = dict(objectives)

    def forward(
        self,
        logits: Sequence[Tensor],
        label: Tensor,
        tasks: Sequence[Task],
        reconstruction: Reconstruction | None = None,
    ) -> Tensor:
        """As of ``DeepSupervision``, with what the samples of pretext tasks are to give -> one loss per sample."""
        names = dict.fromkeys(task.objective for task in tasks)
        rows = [[b for b, task in enumerate(tasks) if task.objective == name] for name in names]
        parts = []
        for name, samples in zip(names, rows, strict=True):
            own = [take_rows(level, samples) for level in logits], take_rows(label, samples)
            own_tasks = [tasks[b] for b in samples]
            if name is None:
                parts.append(self.segmentation(*own, own_tasks))
                continue
            has_target = reconstruction is not None and samples[0] in reconstruction.rows
            targets = reconstruction.of_samples(samples) if reconstruction is not None and has_target else None
            parts.append(self.objectives[name].loss(*own, targets, own_tasks))
        return merge_rows(parts, rows)
