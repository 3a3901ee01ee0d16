"""Which patches an adaptation sees: of every task in turn, anywhere in its scans."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from uniseg.adaptation.views import Patch


@dataclass(frozen=True)
class ScanInput:
    """What tasks that share their input see of a scan.

    Attributes:
        image: ``[M,z,y,x]`` at the tasks' spacing, normalised.
        task_indices: of the network.

    Examples:
        >>> import torch
        >>> ScanInput(torch.zeros(1, 20, 40, 40), (0, 2)).task_indices
        (0, 2)
    """

    image: Tensor
    task_indices: tuple[int, ...]


def draw_patches(
    inputs: Sequence[ScanInput], number: int, patch_size: Sequence[int], rng: np.random.Generator
) -> list[Patch]:
    """``number`` patches of the tasks of all ``inputs`` in turn; a scan smaller than a patch is padded as at
    prediction.
    """
    pairs = [(each, task_index) for each in inputs for task_index in each.task_indices]
    turns = [pairs[k] for k in rng.permutation(len(pairs))]
    chosen = [turns[k % len(turns)] for k in range(number)]
    return [Patch(_cut(each.image, patch_size, rng), task_index) for each, task_index in chosen]


def _cut(image: Tensor, patch_size: Sequence[int], rng: np.random.Generator) -> Tensor:
    lacking = [max(0, n - s) for n, s in zip(patch_size, image.shape[1:], strict=True)]
    start = [int(rng.integers(max(0, s - n) + 1)) for n, s in zip(patch_size, image.shape[1:], strict=True)]
    box = tuple(slice(a, a + n) for a, n in zip(start, patch_size, strict=True))
    cut = image[(slice(None), *box)]
    padding = [part for n in reversed(lacking) for part in (n // 2, n - n // 2)]
    return F.pad(cut, padding) if any(lacking) else cut.clone()
