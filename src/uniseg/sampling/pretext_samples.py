"""Samples of pretext tasks in a batch: their objective changes what the network sees and what it is asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from uniseg.device_copy import take_rows
from uniseg.pretext.base import Objective, PretextPatch, Reconstruction
from uniseg.sampling.augment.base import PatchImages
from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.batch import Batch
from uniseg.sampling.requests import PatchRequest
from uniseg.task import Task

Change = Callable[[PatchImages, Sequence[Any]], None]


@dataclass(frozen=True)
class PretextSamples:
    """Applies the objectives of a run to its batches, on their device.

    Attributes:
        tasks: in the order of the batches' indices.
        objectives: by name.

    Examples:
        >>> PretextSamples([], {}).objectives
        {}
    """

    tasks: Sequence[Task]
    objectives: Mapping[str, Objective]

    def apply_intensity(self, recipe: AugmentRecipe, requests: Sequence[PatchRequest]) -> Change:
        """The intensity transforms of ``recipe`` for those patches alone whose objective wants them."""
        rows = [b for b, request in enumerate(requests) if self._augments_intensity(request)]

        def change(patches: PatchImages, draws: Sequence[Any]) -> None:
            if len(rows) == len(requests):
                recipe.apply_intensity(patches, draws)
            elif rows:
                counts, seeds = ([values[b] for b in rows] for values in (patches.num_modalities, patches.seeds))
                chosen = take_rows(patches.image, rows)
                recipe.apply_intensity(PatchImages(chosen, counts, seeds), [draws[b] for b in rows])
                for b, sample in zip(rows, chosen, strict=True):
                    patches.image[b].copy_(sample)

        return change

    def apply(self, batch: Batch, requests: Sequence[PatchRequest]) -> Batch:
        """Without the partners, which lie after the samples in the batch.

        Args:
            requests: of the samples.
        """
        partners = iter(batch.image[len(requests) :])
        patches: dict[int, PretextPatch] = {}
        for b, request in enumerate(requests):
            if request.pretext is None:
                continue
            task = self.tasks[request.task]
            partner = None if request.partner is None else next(partners)[: task.num_modalities]
            patch = PretextPatch(batch.image[b, : task.num_modalities], batch.label[b])
            patches[b] = self.objectives[str(task.objective)].apply(patch, request.pretext, task, partner)
            batch.image[b, : task.num_modalities].copy_(patches[b].image)
            batch.label[b].copy_(patches[b].label)
        image, label = batch.image[: len(requests)], batch.label[: len(requests)]
        return replace(batch, image=image, label=label, reconstruction=Reconstruction.stack(patches))

    def _augments_intensity(self, request: PatchRequest) -> bool:
        objective = self.tasks[request.task].objective
        return objective is None or self.objectives[objective].augments_intensity
