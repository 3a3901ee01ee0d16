"""What a transform is: drawn in the request as plain numbers, applied on the device to a whole batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from uniseg.device_copy import to_device
from uniseg.settings import Bound, check_fields, number, sequence

NOT_APPLIED = float("nan")
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Transform(ABC):
    """A frozen dataclass whose fields are its settings in a recipe, each with default and bound.

    One of nnU-Net's has keys of the recipe itself (``augment.p_noise``), any other those of its own block
    (``augment.transforms.<name>.p``).

    Attributes:
        group: key of the block that holds its settings, for messages.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> from uniseg.sampling.augment.noise import Noise
        >>> Noise(noise_sd=(0, 0.2)).p_noise
        0.1
    """

    group: ClassVar[str] = "augment"

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def draw(self, rng: np.random.Generator, optional: Sequence[bool]) -> Any:
        """The random numbers of one sample, plain, as few and in the same order whatever they are.

        Args:
            optional: per modality of the sample whether a case may lack it.
        """


@dataclass(frozen=True, kw_only=True)
class SpatialTransform(Transform):
    """Moves image and label; the matrices of all such transforms are multiplied in their order, then sampled once.

    Examples:
        >>> from uniseg.sampling.augment.mirror import Mirror
        >>> Mirror().matrix((True, False, False)).diagonal().tolist()
        [-1.0, 1.0, 1.0]
    """

    @abstractmethod
    def matrix(self, drawn: Any) -> np.ndarray | None:
        """3x3 over (z, y, x) voxel offsets from the patch centre: patch -> scan; None: the identity."""


@dataclass(frozen=True)
class PatchImages:
    """The images of a batch on the device, for transforms to change in place.

    Attributes:
        image: ``[B,M,Z,Y,X]``, of which sample b has the first ``num_modalities[b]``; the others are zero.
        seeds: one per sample, for noise.

    Examples:
        >>> patches = PatchImages(torch.zeros(1, 3, 8, 8, 8), [2], [7])
        >>> len(patches.samples()[0])
        2
    """

    image: Tensor
    num_modalities: Sequence[int]
    seeds: Sequence[int]

    def samples(self) -> list[Tensor]:
        """Per sample ``[m,Z,Y,X]``, views."""
        return [sample[:m] for sample, m in zip(self.image, self.num_modalities, strict=True)]


@dataclass(frozen=True, kw_only=True)
class IntensityTransform(Transform):
    """Changes images alone. A row (one modality of one sample) of zeros stays so: the case lacks that modality.

    Examples:
        >>> from uniseg.sampling.augment.channel_dropout import ChannelDropout
        >>> patches = PatchImages(torch.ones(1, 2, 4, 4, 4), [2], [0])
        >>> ChannelDropout().apply(patches, [(False, True)])
        >>> patches.image.sum((2, 3, 4)).tolist()
        [[64.0, 0.0]]
    """

    @abstractmethod
    def apply(self, patches: PatchImages, drawn: Sequence[Any]) -> None:
        """
        Args:
            drawn: per sample what ``draw`` returned.
        """


@dataclass(frozen=True, kw_only=True)
class RowTransform(IntensityTransform):
    """Changes rows by one number each; ``draw`` returns one per modality, NaN for a row that stays as it is.

    Examples:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Halve(RowTransform):
        ...     def draw(self, rng, optional):
        ...         return draw_rows(rng, len(optional), 0.5, 1, lambda: 0.5)
        ...
        ...     def change(self, rows, parameters):
        ...         return rows * per_row(parameters, rows)
    """

    @abstractmethod
    def change(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """``[N,Z,Y,X]`` and ``[N]`` -> the changed rows."""

    def apply(self, patches: PatchImages, drawn: Sequence[tuple[float, ...]]) -> None:
        """All rows at once; on a CPU one by one, where fresh memory of several rows costs more than the arithmetic."""
        parameters = np.full(patches.image.shape[:2], NOT_APPLIED)
        for row, values in zip(parameters, drawn, strict=True):
            row[: len(values)] = values
        rows, device = patches.image.flatten(0, 1), patches.image.device
        chosen = np.flatnonzero(~np.isnan(parameters))
        parts = chosen.reshape(-1, 1) if device.type == "cpu" else [chosen] if len(chosen) else []
        for part in parts:
            index = to_device(part, device)
            changed = self.change(rows.index_select(0, index), torch.from_numpy(parameters.ravel()[part]).float())
            rows.index_copy_(0, index, changed)


def range_of(item: Bound) -> Bound:
    """The bound of a range [low, high], each an ``item``."""
    return sequence(item, length=2, ascending=True)


FACTORS = range_of(number(above=0, most=10))


def happens(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def draw_rows(
    rng: np.random.Generator, num_modalities: int, p: float, p_channel: float, sample: Callable[[], float]
) -> tuple[float, ...]:
    """One number per modality: NaN for all with probability 1 - ``p``, else for each with 1 - ``p_channel``."""
    use = happens(rng, p)
    return tuple(sample() if use and happens(rng, p_channel) else NOT_APPLIED for _ in range(num_modalities))


def draw_factor(rng: np.random.Generator, bounds: Range) -> float:
    """Half the draws below 1, half above, where the range allows both (batchgenerators' rule for factors)."""
    low, high = bounds
    below = low < 1 and (high <= 1 or rng.random() < 0.5)
    return float(rng.uniform(low, 1) if below else rng.uniform(max(low, 1), high))


def per_row(values: Tensor, rows: Tensor) -> Tensor:
    """``[N]`` beside rows ``[N,Z,Y,X]``."""
    return to_device(values, rows.device)[:, None, None, None]


def row_mean(rows: Tensor) -> Tensor:
    return rows.mean((1, 2, 3), keepdim=True)


def multiply_axes(rows: Tensor, matrices: Sequence[Sequence[np.ndarray]]) -> Tensor:
    """One square matrix per axis and row, applied along Z, Y, X."""
    z, y, x = (to_device(np.stack(axis), rows.device) for axis in matrices)
    rows = torch.bmm(z, rows.flatten(2)).view_as(rows)
    rows = torch.matmul(y[:, None], rows)
    return torch.matmul(rows, x.transpose(1, 2)[:, None])
