"""Intensity transforms, batched: every function takes the rows (one modality of one sample) it applies to.

Rows are ``[N,Z,Y,X]``; a parameter is one number per row. The formulas are nnU-Net's (batchgenerators).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from uniseg.preprocessing.resample import axis_matrix
from uniseg.sampling.augment.draws import AugmentDraw

SMALLEST = 1e-8


def augment_intensity(image: Tensor, draws: Sequence[AugmentDraw], noise_seeds: Sequence[int]) -> Tensor:
    """``[B,M,Z,Y,X]`` -> the same, in the published order, in place.

    A row of zeros alone stays so: a modality that is padded, or that the case lacks.
    """
    for sample, one, seed in zip(image, draws, noise_seeds, strict=True):
        if one.noise_sd == one.noise_sd:
            generator = torch.Generator(image.device).manual_seed(seed)
            for row in sample[: len(one.gamma)]:
                noise = torch.randn(row.shape, generator=generator, device=image.device)
                row.add_(noise.mul_(row.any()), alpha=one.noise_sd)
    rows = image.flatten(0, 1)
    steps: tuple[tuple[str, Callable[[Tensor, Tensor], Tensor]], ...] = (
        ("blur_sigma", blur),
        ("brightness", brighten),
        ("contrast", change_contrast),
        ("zoom", lower_resolution),
        ("gamma_inverted", gamma_inverted),
        ("gamma", gamma),
    )
    for name, transform in steps:
        values = np.full((len(draws), image.shape[1]), np.nan)
        for own, one in zip(values, draws, strict=True):
            own[: len(one.gamma)] = getattr(one, name)
        chosen = np.flatnonzero(~np.isnan(values))
        for part in _parts(chosen, image.device):
            index = torch.from_numpy(part).to(image.device)
            parameters = torch.from_numpy(values.ravel()[part]).float()
            rows[index] = transform(rows[index], parameters)
    return image


def _parts(chosen: np.ndarray, device: torch.device) -> Sequence[np.ndarray]:
    """All rows at once; on a CPU one by one, where fresh memory of several rows costs more than the arithmetic."""
    return chosen.reshape(-1, 1) if device.type == "cpu" else [chosen] if len(chosen) else []


def brighten(rows: Tensor, factor: Tensor) -> Tensor:
    """Multiply."""
    return rows * _per_row(factor, rows)


def change_contrast(rows: Tensor, factor: Tensor) -> Tensor:
    """Stretch about the row's mean, kept within its range."""
    factor, mean = _per_row(factor, rows), _mean(rows)
    return torch.addcmul(mean * (1 - factor), rows, factor).clamp_(
        rows.amin((1, 2, 3), True), rows.amax((1, 2, 3), True)
    )


def gamma(rows: Tensor, exponent: Tensor) -> Tensor:
    """Power of the row scaled to 0..1, then its own mean and standard deviation again."""
    low, mean = rows.amin((1, 2, 3), True), _mean(rows)
    span = rows.amax((1, 2, 3), True) - low
    curved = rows - mean
    sd = _sd_of_centred(curved)
    curved.add_(mean - low).div_(span + SMALLEST).clamp_min_(0).pow_(_per_row(exponent, rows))
    curved.sub_(_mean(curved))
    return torch.addcmul(mean, curved, sd * span / (_sd_of_centred(curved) * span + SMALLEST))


def gamma_inverted(rows: Tensor, exponent: Tensor) -> Tensor:
    """The gamma transform of the negative."""
    return gamma(-rows, exponent).neg_()


def blur(rows: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur, ``sigma`` in voxels, borders reflected."""
    return _along_axes(rows, [[_blur_matrix(size, float(s)) for s in sigma] for size in rows.shape[1:]])


def lower_resolution(rows: Tensor, zoom: Tensor) -> Tensor:
    """Down by nearest neighbour to ``zoom`` times the size, up again by cubic spline."""

    def there_and_back(size: int, factor: float) -> np.ndarray:
        small = max(1, round(size * factor))
        return axis_matrix(small, size, 3) @ axis_matrix(size, small, 0)

    return _along_axes(rows, [[there_and_back(size, float(z)) for z in zoom] for size in rows.shape[1:]])


@lru_cache(maxsize=16)
def _identity(size: int) -> np.ndarray:
    return np.eye(size, dtype=np.float32)


def _blur_matrix(size: int, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter1d(_identity(size), sigma, axis=0, mode="reflect")


def _along_axes(rows: Tensor, matrices: Sequence[Sequence[np.ndarray]]) -> Tensor:
    """One square matrix per axis and row, applied along Z, Y, X."""
    z, y, x = (torch.from_numpy(np.stack(own)).to(rows.device) for own in matrices)
    rows = torch.bmm(z, rows.flatten(2)).view_as(rows)
    rows = torch.matmul(y[:, None], rows)
    return torch.matmul(rows, x.transpose(1, 2)[:, None])


def _per_row(values: Tensor, rows: Tensor) -> Tensor:
    return values.to(rows.device)[:, None, None, None]


def _mean(rows: Tensor) -> Tensor:
    return rows.mean((1, 2, 3), keepdim=True)


def _sd_of_centred(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=(1, 2, 3), keepdim=True) / rows[0].numel() ** 0.5
