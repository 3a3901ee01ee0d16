"""What a GPU holds, and how much of a prediction is computed there at a time."""

from collections.abc import Sequence

import torch

from uniseg.inference.accumulators import WindowAccumulator
from uniseg.inference.compute import Compute
from uniseg.inference.memory import FLOAT, GB, SLABS, CardEstimate, ExecutionPlan, num_voxels, plan_card
from uniseg.inference.restore import SLAB_VOXELS, CropGeometry
from uniseg.inference.settings import AUTO, InferenceSettings
from uniseg.models.uniseg import UniSegModel

ON_A_PROCESSOR = 2  # windows at a time
MOST_WINDOWS = 16
BUSY = 2**23  # voxels of windows at a time from which more gain nothing
FREE = 0.9  # of what is free, for the allocator's gaps
LARGEST_SLAB = 2**26
SLAB_FRACTION = 1 / 8  # of the budget, for all slabs that are alive at once


def window_batch(settings: InferenceSettings, compute: Compute, patch_size: Sequence[int]) -> int:
    """Windows at a time, at most.

    Examples:
        >>> window_batch(InferenceSettings(), Compute(torch.device("cpu")), (64, 192, 192))
        2
        >>> [window_batch(InferenceSettings(), Compute(torch.device("cuda")), (64, n, n)) for n in (192, 128, 64)]
        [2, 8, 16]
    """
    if settings.window_batch != AUTO:
        return int(settings.window_batch)
    if not compute.is_cuda:
        return ON_A_PROCESSOR
    windows = max(1, min(MOST_WINDOWS, BUSY // num_voxels(patch_size)))
    return 2 ** (windows.bit_length() - 1)  # few sizes, since the convolutions are chosen anew for each


def card_budget(models: Sequence[UniSegModel], settings: InferenceSettings, compute: Compute) -> float:
    """Bytes of the GPU's memory that a prediction may take, the weights included."""
    if settings.max_gpu_memory_gb is not None:
        return settings.max_gpu_memory_gb * GB
    free, _ = torch.cuda.mem_get_info(compute.device)
    cached = torch.cuda.memory_reserved(compute.device) - torch.cuda.memory_allocated(compute.device)
    return FREE * (free + cached) + FLOAT * num_weights(models)


def slab_voxels(budget: float) -> int:
    """Of float maps in a slab of ``OutputResampler`` on a GPU."""
    return int(max(SLAB_VOXELS, min(LARGEST_SLAB, budget * SLAB_FRACTION / (SLABS * FLOAT))))


def plan_on_card(
    models: Sequence[UniSegModel],
    accumulators: Sequence[WindowAccumulator],
    crop: CropGeometry,
    num_modalities: int,
    settings: InferenceSettings,
    compute: Compute,
) -> ExecutionPlan:
    """How much of a group of tasks on one scan is computed at a time."""
    model, budget = models[0], card_budget(models, settings, compute)
    patch_size, channels = model.patch_size, [accumulator.channels for accumulator in accumulators]
    estimate = CardEstimate(
        image=num_modalities * num_voxels(crop.task_shape),
        weights=num_weights(models),
        window=num_voxels(patch_size) * max(model.decoder.channels[0], *channels),
        scores=num_voxels(patch_size) * sum(channels),
        ring_row=(sum(channels) + len(channels)) * patch_size[0] * max(crop.task_shape[2], patch_size[2]),
        slab=slab_voxels(budget),
        value_bytes=compute.value_bytes,
    )
    num_rows = crop.crop_shape[1]
    most = window_batch(settings, compute, patch_size), len(accumulators)
    return plan_card(estimate, num_rows, crop.task_shape[1] / num_rows, most, budget)


def num_weights(models: Sequence[UniSegModel]) -> int:
    return sum(parameter.numel() for model in models for parameter in model.parameters())
