"""Tasks that see one input: planned within the memory, prepared once, computed window by window together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uniseg.errors import InputError
from uniseg.images.volume import Volume
from uniseg.inference.accumulators import WindowAccumulator, make_accumulator
from uniseg.inference.card import card_budget, num_weights, plan_on_card, slab_voxels, window_batch
from uniseg.inference.compute import WRITERS, Compute
from uniseg.inference.memory import ExecutionPlan, MemoryEstimate, num_voxels, plan_execution, require_memory
from uniseg.inference.plane_writer import PlaneWriter
from uniseg.inference.restore import (
    SLAB_VOXELS,
    CompressedSegmentation,
    CropGeometry,
    OutputOptions,
    OutputResampler,
)
from uniseg.inference.settings import InferenceSettings
from uniseg.inference.stopwatch import WINDOWS, Stopwatch
from uniseg.inference.window_network import BatchSizes, WindowNetwork
from uniseg.inference.window_pass import WindowPass
from uniseg.models.uniseg import UniSegModel
from uniseg.preprocessing.preprocess import nonzero_box, preprocess_on, require_extent
from uniseg.preprocessing.resample import target_shape

PER_PROBABILITY = 3  # how much more a probability takes than a label, compressed


@dataclass(frozen=True)
class PreparedGroup:
    """The input that tasks share, with what it takes to compute them.

    Attributes:
        image: ``[M,z,y,x]`` at the tasks' spacing, on the device.

    Examples:
        >>> from uniseg import Normalization, Task, UniSegModel
        >>> liver = Task("liver", ("CT",), ("background", "liver"), (2, 1, 1), (Normalization("zscore", masked=False),))
        >>> model = UniSegModel.from_preset("uniseg_tiny", [liver], patch_size=(16, 32, 32)).eval()
        >>> import numpy as np
        >>> volume = Volume.of_array(np.random.default_rng(0).normal(size=(20, 40, 36)), spacing_mm=(4, 1, 1))
        >>> compute = Compute(torch.device("cpu"))
        >>> prepared = prepare_group([model], [0], volume, InferenceSettings(), compute, OutputOptions())
        >>> prepared.image.shape, prepared.plan.blocks
        (torch.Size([1, 40, 40, 36]), ((0, 40),))
    """

    accumulators: tuple[WindowAccumulator, ...]
    crop: CropGeometry
    plan: ExecutionPlan
    image: Tensor
    options: OutputOptions


def group_tasks(model: UniSegModel, task_names: Sequence[str], volume: Volume) -> list[list[int]]:
    """Indices of the tasks, those that see the same input together.

    Raises:
        InputError: an unknown task, one of another number of modalities, one that needs a modality which the scan
            lacks, or whose normalisation was never resolved.
    """
    groups: dict[tuple, list[int]] = {}
    for name in task_names:
        index = model.tasks.position(name)
        task = model.tasks[index]
        if task.num_modalities != len(volume.array):
            found, expected = f"{len(volume.array)} channels", f"{task.num_modalities} ({', '.join(task.modalities)})"
            raise InputError(f"task '{name}'", found, expected, "give one image per modality, in this order")
        missing = [
            modality
            for modality, is_present in zip(task.modalities, volume.present, strict=True)
            if not is_present and modality not in task.optional
        ]
        if missing:
            found, expected = f"a scan without {', '.join(missing)}", "every modality that is not optional"
            raise InputError(f"task '{name}'", found, expected, "give the file")
        if not all(how.resolved for how in task.normalization):
            found, fix = "a normalisation without its numbers", "load a checkpoint, or give Normalization its numbers"
            raise InputError(f"task '{name}'", found, "those of the training data", fix)
        groups.setdefault((task.spacing_mm, task.normalization, model.stem_of(index)), []).append(index)
    return list(groups.values())


def prepare_group(
    models: Sequence[UniSegModel],
    task_indices: Sequence[int],
    volume: Volume,
    settings: InferenceSettings,
    compute: Compute,
    options: OutputOptions,
    *,
    keeps_volume: bool = True,
) -> PreparedGroup:
    """What memory it takes is counted before anything is made.

    Args:
        keeps_volume: whether the scan stays in memory while the windows are computed.

    Raises:
        InputError: a head holds NaN or infinity, or the prepared scan does; the scan is too large for the task's
            spacing, or for the memory.
    """
    first = models[0].tasks[task_indices[0]]
    features_allowed = not (settings.skip_empty or settings.gate)
    accumulators = tuple(make_accumulator(models, index, features_allowed=features_allowed) for index in task_indices)
    box = nonzero_box((volume.array != 0).any(0))
    crop_shape = [stop - start for start, stop in box]
    require_extent("scan", [n * mm for n, mm in zip(crop_shape, volume.spacing_mm, strict=True)], first)
    task_shape = target_shape(crop_shape, volume.spacing_mm, first.spacing_mm)
    crop = CropGeometry(box, volume.array.shape[1:], volume.spacing_mm, task_shape, first.spacing_mm)
    plan = _plan(models, accumulators, crop, settings, compute, options, keeps_volume=keeps_volume)
    image = preprocess_on(volume, first, compute.device)
    if not bool(torch.isfinite(torch.stack([image.min(), image.max()])).all()):
        found, fix = "NaN or infinity in the prepared scan", "repair the scan, or the task's normalisation"
        raise InputError(f"task '{first.name}'", found, "finite numbers", fix)
    return PreparedGroup(accumulators, crop, plan, image, options)


def segment_group(
    models: Sequence[UniSegModel],
    prepared: PreparedGroup,
    settings: InferenceSettings,
    compute: Compute,
    stopwatch: Stopwatch,
    sizes: BatchSizes,
    *,
    part: tuple[int, int] = (0, 1),
) -> Mapping[str, CompressedSegmentation]:
    """Task name -> segmentation in the scan's grid.

    Args:
        sizes: as they are after the last scan.
        part: which group of the scan's tasks this is, and how many there are, for the listener of the stopwatch.

    Raises:
        InputError: the network says NaN or infinity.
    """
    accumulators = prepared.accumulators
    sizes.plan(prepared.plan.window_batch, prepared.plan.tasks_at_once)
    network = WindowNetwork(models, accumulators, settings.mirror_axes, compute, sizes, stopwatch)
    slab = slab_voxels(card_budget(models, settings, compute)) if compute.is_cuda else SLAB_VOXELS
    with PlaneWriter(compute.device) as writer:
        resamplers = [
            OutputResampler(each.scores, each.task.num_labels, prepared.crop, prepared.options, writer, slab)
            for each in accumulators
        ]
        windows, num_blocks = WindowPass(network, prepared.image, settings), len(prepared.plan.blocks)
        num_layers = len(windows.grid.starts(0))
        for block, rows in enumerate(prepared.plan.blocks):
            for resampler in resamplers:
                resampler.start_block(rows)
            for layer, parts in enumerate(windows.planes(resamplers[0].source_rows(rows)), 1):
                with stopwatch("restore", compute.device):
                    for resampler, planes in zip(resamplers, parts, strict=True):
                        resampler.add(planes)
                done = (block + min(layer / num_layers, 1)) / num_blocks
                stopwatch.tell(WINDOWS, (part[0] + done) / part[1])
    stopwatch.settle()
    return {
        accumulator.task.name: resampler.segmentation
        for accumulator, resampler in zip(accumulators, resamplers, strict=True)
    }


def _plan(
    models: Sequence[UniSegModel],
    accumulators: Sequence[WindowAccumulator],
    crop: CropGeometry,
    settings: InferenceSettings,
    compute: Compute,
    options: OutputOptions,
    *,
    keeps_volume: bool,
) -> ExecutionPlan:
    """
    Raises:
        InputError: the memory is too small.
    """
    num_modalities = accumulators[0].task.num_modalities
    estimate = estimate_memory(models, accumulators, crop, num_modalities, options, keeps_volume=keeps_volume)
    if compute.is_cuda:
        beside = replace(estimate, image=0, window=0, ring_row=0, label=estimate.label * compute.writers // WRITERS)
        require_memory(beside, settings.max_memory_gb)
        return plan_on_card(models, accumulators, crop, num_modalities, settings, compute)
    num_rows = crop.crop_shape[1]
    most = window_batch(settings, compute, models[0].patch_size)
    return plan_execution(estimate, num_rows, crop.task_shape[1] / num_rows, most, settings.max_memory_gb)


def estimate_memory(
    models: Sequence[UniSegModel],
    accumulators: Sequence[WindowAccumulator],
    crop: CropGeometry,
    num_modalities: int,
    options: OutputOptions,
    *,
    keeps_volume: bool,
) -> MemoryEstimate:
    """Sizes of a group of tasks on one scan."""
    model, label, volume = models[0], num_voxels(crop.shape), num_modalities * num_voxels(crop.shape)
    window, image = model.patch_size, num_modalities * num_voxels(crop.task_shape)
    resampled_z = crop.task_shape[0] * crop.crop_shape[1] * crop.crop_shape[2]
    confidence, probabilities = options.confidence * PER_PROBABILITY, options.probabilities * PER_PROBABILITY
    channels = [accumulator.channels for accumulator in accumulators]
    return MemoryEstimate(
        volume=volume if keeps_volume else 0,
        compressed=label * sum(1 + confidence + probabilities * each.task.num_labels for each in accumulators),
        label=label,
        image=image,
        weights=num_weights(models),
        window=num_voxels(window) * max(model.decoder.channels[0], *channels),
        ring_row=(sum(channels) + len(channels)) * window[0] * max(crop.task_shape[2], window[2]),
        slab=SLAB_VOXELS,
        preparing=volume + num_modalities * num_voxels(crop.crop_shape) + image + max(image, resampled_z),
    )
