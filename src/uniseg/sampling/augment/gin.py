"""Another appearance from a random shallow network: GIN (Ouyang et al., IEEE TMI 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from uniseg.device_copy import to_device
from uniseg.sampling.augment.base import IntensityTransform, PatchImages, happens, per_row
from uniseg.settings import FRACTION, bounded

CHANNELS = (1, 2, 2, 2, 1)  # before, between and after the four layers
KERNELS = (1, 3)
NEGATIVE_SLOPE = 0.01
SMALLEST = 1e-8


@dataclass(frozen=True)
class GinDraw:
    """One modality's random network.

    Attributes:
        seed: of its weights and biases, all from the standard normal distribution.
        kernels: of its layers.
        mix: weight of what it makes; the image has the rest.

    Examples:
        >>> [weight.shape for weight, _ in GinDraw(0, (1, 3, 1, 1), 0.5).layers()][:2]
        [(2, 1, 3, 3, 3), (2, 2, 3, 3, 3)]
    """

    seed: int
    kernels: tuple[int, ...]
    mix: float

    def layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weight ``[C',C,3,3,3]`` and bias ``[C']`` of each; a kernel of 1 is the middle of one of 3."""
        rng, layers = np.random.default_rng(self.seed), []
        for (before, after), kernel in zip(pairwise(CHANNELS), self.kernels, strict=True):
            weight = rng.standard_normal((after, before, 3, 3, 3), np.float32)
            if kernel == 1:
                middle = np.zeros_like(weight)
                middle[..., 1, 1, 1] = weight[..., 1, 1, 1]
                weight = middle
            layers.append((weight, rng.standard_normal(after, np.float32)))
        return layers


@dataclass(frozen=True, kw_only=True)
class Gin(IntensityTransform):
    """Four random convolution layers of two channels with leaky ReLUs between; the result is mixed with the image by a
    uniform weight and rescaled to the image's norm.

    Every modality has a network of its own. A voxel of exactly 0 stays so: it lies outside the case, outside the body
    of a masked modality, or is air at the end of a window; so do rows of zeros, of a modality that a case lacks.

    Attributes:
        p: that a sample gets networks.

    Examples:
        >>> draws = Gin(p=1.0).draw(np.random.default_rng(0), (False, False))
        >>> [len(draw.kernels) for draw in draws]
        [4, 4]
    """

    group: ClassVar[str] = "augment.transforms.gin"

    p: float = field(default=0.5, metadata=bounded(FRACTION))

    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> tuple[GinDraw, ...]:
        return draw_networks(rng, len(optional)) if happens(rng, self.p) else ()

    def apply(self, patches: PatchImages, drawn: Sequence[tuple[GinDraw, ...]]) -> None:
        num_modalities, rows = patches.image.shape[1], patches.image.flatten(0, 1)
        chosen = {b * num_modalities + m: draw for b, draws in enumerate(drawn) for m, draw in enumerate(draws)}
        # on a processor one by one, as RowTransform
        parts = [[row] for row in chosen] if rows.device.type == "cpu" else [list(chosen)] if chosen else []
        for part in parts:
            index = to_device(np.array(part), rows.device)
            changed = change_appearance(rows.index_select(0, index), [chosen[row] for row in part])
            rows.index_copy_(0, index, changed)


def draw_networks(rng: np.random.Generator, number: int) -> tuple[GinDraw, ...]:
    return tuple(
        GinDraw(int(rng.integers(2**31)), tuple(rng.choice(KERNELS, len(CHANNELS) - 1).tolist()), float(rng.uniform()))
        for _ in range(number)
    )


def change_appearance(rows: Tensor, draws: Sequence[GinDraw]) -> Tensor:
    """``[N,Z,Y,X]`` -> each through its own network, mixed, rescaled."""
    layers = [draw.layers() for draw in draws]
    x = rows[None]
    for number in range(len(CHANNELS) - 1):
        weight, bias = (
            to_device(np.concatenate([each[number][part] for each in layers]), rows.device) for part in (0, 1)
        )
        x = F.conv3d(F.leaky_relu(x, NEGATIVE_SLOPE) if number else x, weight, bias, padding=1, groups=len(rows))
    mix = per_row(torch.tensor([draw.mix for draw in draws]), rows)
    mixed = (mix * x[0] + (1 - mix) * rows) * (rows != 0)
    return mixed * (_norm(rows) / (_norm(mixed) + SMALLEST))


def _norm(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=(1, 2, 3), keepdim=True)
