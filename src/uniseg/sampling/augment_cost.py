"""What augmentation costs on this machine's processor."""

import time
from collections.abc import Sequence

import numpy as np
import torch

from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.augment.spatial import box_margin
from uniseg.sampling.batch import RawBatch
from uniseg.sampling.patches import make_batch
from uniseg.sampling.requests import PatchRequest

NUM_PATCHES = 16  # transforms are rare, so that the first few say little


def augment_seconds(recipe: AugmentRecipe, num_modalities: int, patch_size: Sequence[int]) -> float:
    """Of one patch, the mean over ``NUM_PATCHES`` of random voxels.

    Examples:
        >>> 0 < augment_seconds(AugmentRecipe(), 1, (8, 16, 16)) < 10
        True
    """
    rng, seconds = np.random.default_rng(0), 0.0
    for number in range(NUM_PATCHES):
        draw = recipe.draw(rng, (False,) * num_modalities)
        box = np.add(patch_size, 2 * np.array(box_margin(draw.matrix, patch_size)))
        image = torch.from_numpy(rng.standard_normal((num_modalities, *box), np.float32)).half()
        request = PatchRequest(
            task=0, case_id="", seed=number, force_foreground=False, augmentation=draw, step=0, batch_index=0
        )
        raw = RawBatch([image], [torch.zeros(*box, dtype=torch.int8)], [request])
        start = time.perf_counter()
        make_batch(raw, patch_size, recipe)
        seconds += time.perf_counter() - start
    return seconds / NUM_PATCHES
