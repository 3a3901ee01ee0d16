"""Reads the boxes of voxels that requests need, and makes the augmented batch of them on the device."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from uniseg.cache.store import TaskCache
from uniseg.device_copy import to_device
from uniseg.errors import InputError
from uniseg.sampling.augment.base import PatchImages
from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.augment.spatial import box_margin, sample_patch
from uniseg.sampling.batch import Batch, Padding, RawBatch, ReadFailure
from uniseg.sampling.pretext_samples import PretextSamples
from uniseg.sampling.requests import PatchRequest

RETURNED = (InputError, OSError, MemoryError, FloatingPointError)  # by a reader process, for the main one to raise
BYTES_IMAGE, BYTES_LABEL = 2, 2  # of a voxel in the cache, at most
OUTSIDE = -2  # label of voxels without a body, between reading and augmentation (nnU-Net has -1 for them)


class PatchReader(Dataset):
    """Answers the requests of one batch from the caches; runs in a worker.

    Examples:
        >>> reader = PatchReader([], (32, 48, 48))  # of a cache per task
        >>> reader.__getitems__([]).images  # of the requests of a batch
        []
    """

    def __init__(self, caches: Sequence[TaskCache], patch_size: Sequence[int]) -> None:
        self.caches = list(caches)
        self.patch_size = tuple(patch_size)

    def __getitems__(self, requests: Sequence[PatchRequest]) -> RawBatch | ReadFailure:
        """An error of the data or the machine is returned, to be raised in the main process."""
        try:
            boxes = [self.read(request) for request in with_partners(requests)]
        except RETURNED as error:
            return ReadFailure(error)
        images, labels, paddings = ([box[part] for box in boxes] for part in range(3))
        return RawBatch(images, labels, list(requests), paddings)

    def read(self, request: PatchRequest) -> tuple[Tensor, Tensor, Padding | None]:
        """What the case has of the box, ``[M,z,y,x]`` with its label ``[z,y,x]`` as they are stored, and where that
        lies in the box.

        A patch that is not centred on foreground lies around a voxel that has a label, where a part of the case has
        none.
        """
        cache = self.caches[request.task]
        entry = cache.entries[request.case_id]
        foreground = cache.foreground(request.case_id) if request.force_foreground else {}
        centres = foreground or cache.annotated(request.case_id)
        start = np.array(patch_start(entry.shape, centres, request.seed, self.patch_size))
        margin: np.ndarray = np.array(self._margin(request))
        start, stop = start - margin, start + self.patch_size + margin
        low, high = np.clip(start, 0, entry.shape), np.clip(stop, 0, entry.shape)
        masked = np.flatnonzero(request.augmentation.masked if request.augmentation else ())
        if (high > low).all():
            image, label = cache.read_box(request.case_id, low, high)
        else:
            low = high = start
            image, label = np.zeros((cache.task.num_modalities, 0, 0, 0), np.float16), np.zeros((0, 0, 0), np.int8)
        if len(masked):
            label[(label == 0) & np.logical_and.reduce([image[m] == 0 for m in masked])] = OUTSIDE
        padding = None
        if (low != start).any() or (high != stop).any():
            padding = Padding(
                tuple((stop - start).tolist()), tuple((low - start).tolist()), OUTSIDE if len(masked) else 0
            )
        return torch.from_numpy(image), torch.from_numpy(label), padding

    def num_bytes(self, request: PatchRequest) -> int:
        """The most that an answer to ``request`` takes."""
        return sum(map(self._num_bytes, with_partners([request])))

    def _num_bytes(self, request: PatchRequest) -> int:
        cache = self.caches[request.task]
        box = np.add(self.patch_size, 2 * np.array(self._margin(request)))
        voxels = int(np.minimum(box, cache.entries[request.case_id].shape).clip(0).prod())
        return voxels * (cache.task.num_modalities * BYTES_IMAGE + BYTES_LABEL)

    def _margin(self, request: PatchRequest) -> tuple[int, int, int]:
        return box_margin(request.augmentation and request.augmentation.matrix, self.patch_size)


def with_partners(requests: Sequence[PatchRequest]) -> list[PatchRequest]:
    """All patches of a batch: those of the samples, then their partners."""
    return [*requests, *(request.partner for request in requests if request.partner is not None)]


def patch_start(
    shape: Sequence[int], centres: Mapping[int, np.ndarray], seed: int, patch_size: Sequence[int]
) -> tuple[int, ...]:
    """First voxel of the patch; may be negative where the case is smaller than the patch.

    With ``centres`` (voxels ``[n,3]`` per class) the patch is centred on a random voxel of a random class, as far as it
    stays inside the case; without, it lies anywhere inside. A case smaller than the patch is centred in it along that
    axis, as nnU-Net does.
    """
    rng = np.random.default_rng(seed)
    lowest = [-((patch - size) // 2) if patch > size else 0 for size, patch in zip(shape, patch_size, strict=True)]
    highest = [max(size - patch, low) for size, patch, low in zip(shape, patch_size, lowest, strict=True)]
    if centres:
        voxels = centres[sorted(centres)[rng.integers(len(centres))]]
        centre = voxels[rng.integers(len(voxels))]
        return tuple(
            int(np.clip(c - p // 2, low, high))
            for c, p, low, high in zip(centre, patch_size, lowest, highest, strict=True)
        )
    return tuple(int(rng.integers(low, high + 1)) for low, high in zip(lowest, highest, strict=True))


def make_batch(
    raw: RawBatch,
    patch_size: Sequence[int],
    recipe: AugmentRecipe | None = None,
    pretexts: PretextSamples | None = None,
) -> Batch:
    """Augment on the device that holds the boxes, pad modalities to the widest sample.

    Args:
        recipe: that drew the augmentation of the requests, where they have one.
        pretexts: changes the samples of pretext tasks, where the run has some.
    """
    requests = with_partners(raw.requests)
    draws = [request.augmentation for request in requests]
    patches = [
        sample_patch(image, label, draw and draw.matrix, patch_size)
        for (image, label), draw in zip(raw.boxes(), draws, strict=True)
    ]
    num_modalities = [len(image) for image, _ in patches]
    image = patches[0][0].new_zeros((len(patches), max(num_modalities), *patch_size))
    for row, (patch, _) in zip(image, patches, strict=True):
        row[: len(patch)] = patch
    label = torch.stack([label for _, label in patches])
    if recipe is not None and all(draws):
        seeds = [request.seed for request in requests]
        change = recipe.apply_intensity if pretexts is None else pretexts.apply_intensity(recipe, requests)
        change(PatchImages(image, num_modalities, seeds), draws)
        for sample, target, draw in zip(image, label, draws, strict=True):
            _clear_outside(sample, target, np.flatnonzero(draw.masked))
    task = torch.tensor([request.task for request in raw.requests])
    weights = [request.loss_weight for request in raw.requests]
    loss_weight = None if all(weight == 1 for weight in weights) else to_device(weights, image.device, torch.float32)
    case_ids = [request.case_id for request in raw.requests]
    batch = Batch(image, label, task, case_ids, raw.requests[0].step, loss_weight=loss_weight)
    return batch if pretexts is None else pretexts.apply(batch, raw.requests)


def _clear_outside(image: Tensor, label: Tensor, masked: np.ndarray) -> None:
    """Set modalities that are normalised inside the body to 0 outside it, whatever augmentation did."""
    if len(masked):
        outside = label == OUTSIDE
        label.masked_fill_(outside, 0)
        for modality in masked:
            image[int(modality)].masked_fill_(outside, 0)
