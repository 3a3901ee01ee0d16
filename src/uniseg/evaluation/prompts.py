"""Task prompts that a trained network makes of scans, and their files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.data.utils import dense_patch_slices
from monai.inferers import sliding_window_inference
from rich.console import Console
from rich.progress import Progress, track
from torch import Tensor
from torch.nn import functional as F

from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset
from uniseg.evaluation.prompt_files import PromptMap, PromptSimilarity
from uniseg.images.files import read_volume
from uniseg.models.uniseg import UniSegModel
from uniseg.preprocessing.preprocess import preprocess
from uniseg.run_folder import EvaluationFolder
from uniseg.task import Task

OVERLAP = 0.5
AT_ONCE = 2  # windows, as at prediction: torch convolves a small one by itself five times as slowly on a processor
CASES_PER_TASK = 2  # validation scans over which the prompts are compared


@dataclass(frozen=True)
class SeenCase:
    """A scan through which the prompts are seen, with the task that says how it is prepared.

    Examples:
        >>> prompt_similarity(model, [SeenCase(task, case)]).cosine.shape  # doctest: +SKIP
        (11, 11)
    """

    task: Task
    case: Case


def write_prompts(model: UniSegModel, datasets: Sequence[Dataset], fold: int, output: EvaluationFolder) -> None:
    """``prompts/similarity.npz`` over a few validation scans of every task, ``prompts/map.npz`` over the first; nothing
    for a network without prompts.
    """
    seen = [
        SeenCase(model.tasks[model.tasks.position(dataset.task.name)], case)
        for dataset in datasets
        for case in dataset.cases_of("val", fold)[:CASES_PER_TASK]
    ]
    if similarity := prompt_similarity(model, seen):
        similarity.save(output.prompt_similarity)
        prompt_map(model, seen[0], telling_tasks(similarity, seen[0].task.name)).save(output.prompt_map)


def batch_prompts(model: UniSegModel, image: Tensor, task: Tensor) -> Tensor:
    """Prompts of all tasks ``[T,B,z,y,x]`` for windows ``image [B,M,Z,Y,X]``;

    ``task [B]`` says how many modalities each has. T is 0 where there are none. Float32, under autocast too.
    """
    return model.task_prompts(model.encode(image, task)).transpose(0, 1).float()


@torch.inference_mode()
def prompt_similarity(model: UniSegModel, seen: Sequence[SeenCase]) -> PromptSimilarity | None:
    """How alike the prompts are over the middle windows of the scans;

    None for a network without prompts, or without scans.
    """

    def middle_prompts(each: SeenCase) -> Tensor:
        image = _middle(_prepared(each), model.patch_size).to(model.device)
        return batch_prompts(model, image[None], _task_index(model, each.task)).cpu()

    if not seen or not len(first := middle_prompts(seen[0])):
        return None
    others = track(seen[1:], "prompts", console=Console(stderr=True), disable=len(seen) < 2)
    windows = [first, *map(middle_prompts, others)]
    maps, universal = torch.cat(windows, 1), model.conditioning.universal_rows().cpu()
    return PromptSimilarity(
        np.array(model.tasks.names), cosine_matrix(maps).numpy(), cosine_matrix(universal).numpy(), np.array(len(seen))
    )


@torch.inference_mode()
def prompt_map(model: UniSegModel, seen: SeenCase, tasks: Sequence[int]) -> PromptMap:
    """Prompts of ``tasks`` (indices) over a whole scan: overlapping windows, each map brought to the size of its
    window.
    """
    image = _prepared(seen)
    size = [max(pair) for pair in zip(image.shape[1:], model.patch_size, strict=True)]
    step = [max(int(n * (1 - OVERLAP)), 1) for n in model.patch_size]
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("prompt map", total=len(dense_patch_slices(size, model.patch_size, step)))

        def window_maps(window: Tensor) -> Tensor:
            task = _task_index(model, seen.task).expand(len(window))
            maps = batch_prompts(model, window, task).transpose(0, 1)[:, list(tasks)]
            progress.advance(bar, len(window))
            return F.interpolate(maps, window.shape[2:], mode="trilinear")

        where = image[None].to(model.device), model.patch_size, AT_ONCE
        maps = sliding_window_inference(*where, window_maps, overlap=OVERLAP, mode="gaussian", progress=False)[0]
    return PromptMap(
        np.array([model.tasks[t].name for t in tasks]),
        np.array(seen.task.name),
        np.array(seen.case.case_id),
        np.array(seen.task.modalities[0]),
        np.array(seen.task.spacing_mm),
        image[0].numpy(),
        maps.cpu().numpy().astype(np.float16),
    )


def cosine_matrix(maps: Tensor) -> Tensor:
    """Cosine between every two of T maps ``[T,...]``, compared voxel by voxel: ``[T,T]`` float32, 0 for a map that is
    the same everywhere.

    Each map's mean is subtracted first (the cosine is then Pearson's correlation): a leaky ReLU leaves hardly anything
    below zero, and that common offset would make every two prompts look alike.
    """
    flat = maps.flatten(1).float()
    flat = F.normalize(flat - flat.mean(1, keepdim=True), dim=1)
    return (flat @ flat.T).clamp(-1, 1)


def telling_tasks(similarity: PromptSimilarity, task: str) -> list[int]:
    """Indices of a task, of the one whose prompt is most like its prompt, of the one whose is least; fewer where there
    are fewer.
    """
    index = similarity.tasks.tolist().index(task)
    others = [int(t) for t in np.argsort(-similarity.cosine[index], kind="stable") if t != index]
    return [index, *dict.fromkeys([*others[:1], *others[-1:]])]


def _prepared(seen: SeenCase) -> Tensor:
    """``[M,z,y,x]`` at the task's spacing."""
    return torch.from_numpy(
        preprocess(read_volume(seen.case.image_paths, seen.task.reference_position), seen.task).image
    )


def _task_index(model: UniSegModel, task: Task) -> Tensor:
    return torch.tensor([model.tasks.position(task.name)])


def _middle(image: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of ``[M,z,y,x]``, zeros around a scan that is smaller than ``size``."""
    spare = [(n - s) // 2 for n, s in zip(image.shape[1:], size, strict=True)]
    pads = [pad for n, s, low in zip(image.shape[1:], size, spare, strict=True) for pad in (-low, s - n + low)]
    axes = [pads[i : i + 2] for i in (4, 2, 0)]
    return F.pad(image, [pad for axis in axes for pad in axis])
