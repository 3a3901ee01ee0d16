"""What augmentation does to one sample: drawn once, as plain numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real

import numpy as np

from uniseg.errors import InputError

Range = Sequence[float]
# of a range; 0 for the others
LOWEST = {"rotation_deg": -180.0, "scale": 0.1, "low_resolution_zoom": 0.01, "gamma": 0.01}
HIGHEST = {"rotation_deg": 180.0, "scale": 4.0}  # a scale of 4 reads 64 patches for one


@dataclass(frozen=True, kw_only=True)
class AugmentRecipe:
    """Probabilities with ranges (nnU-Net's transforms). A probability of 0 switches a transform off.

    ``p_*_channel`` is per modality, given that the sample was chosen; ``p_channel_dropout`` is per optional modality.
    Rotation is in degrees about each axis.

    Raises:
        InputError: a probability outside 0 to 1, a range that is reversed, not finite or beyond what a transform can
            do, an axis other than 0, 1, 2.
    """

    p_rotation: float
    rotation_deg: Range
    p_scale: float
    scale: Range
    p_noise: float
    noise_sd: Range
    p_blur: float
    p_blur_channel: float
    blur_sigma: Range
    p_brightness: float
    brightness: Range
    p_contrast: float
    contrast: Range
    p_low_resolution: float
    p_low_resolution_channel: float
    low_resolution_zoom: Range
    p_gamma_inverted: float
    p_gamma: float
    gamma: Range
    mirror_axes: Sequence[int]
    p_channel_dropout: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "mirror_axes":
                sound, expected = (
                    isinstance(value, Sequence) and all(axis in (0, 1, 2) for axis in value),
                    "a list of axes out of 0, 1, 2",
                )
            elif name.startswith("p_"):
                sound, expected = isinstance(value, Real) and 0 <= value <= 1, "a probability from 0 to 1"
            else:
                low, high = LOWEST.get(name, 0.0), HIGHEST.get(name, float("inf"))
                sound, expected = _is_range(value, low, high), f"[low, high] within {low:g} to {high:g}"
            if not sound:
                raise InputError(f"augment.{name}", f"{value}", expected, "correct the value")


@dataclass(frozen=True)
class AugmentDraw:
    """One sample's augmentation. Intensity entries hold one number per modality; NaN means: not applied.

    Attributes:
        dropped: modalities set to 0, as if the case lacked them.
        masked: modalities that are 0 outside the body and have to stay so.
        rotation: radians about (z, y, x).
        scale: of the sampling grid; above 1 the patch shows more of the scan.
        mirror: flip per axis (z, y, x).
        noise_sd: of the added Gaussian noise.
        blur_sigma: in voxels.
        brightness, contrast, zoom, gamma_inverted, gamma: factors of the transforms of ``intensity.py``.
    """

    rotation: tuple[float, float, float]
    scale: float
    mirror: tuple[bool, bool, bool]
    noise_sd: float
    blur_sigma: tuple[float, ...]
    brightness: tuple[float, ...]
    contrast: tuple[float, ...]
    zoom: tuple[float, ...]
    gamma_inverted: tuple[float, ...]
    gamma: tuple[float, ...]
    dropped: tuple[bool, ...]
    masked: tuple[bool, ...] = ()

    @property
    def is_spatial(self) -> bool:
        """Whether the patch has to be interpolated."""
        return self.scale != 1 or any(self.rotation)


def _is_range(value: object, low: float, high: float) -> bool:
    if (
        not isinstance(value, Sequence)
        or len(value) != 2
        or not all(isinstance(v, Real) and isfinite(v) for v in value)
    ):
        return False
    return low <= value[0] <= value[1] <= high


def draw(
    recipe: AugmentRecipe, optional: Sequence[bool], rng: np.random.Generator, masked: Sequence[bool] = ()
) -> AugmentDraw:
    """All of a sample's random numbers, always in the same order.

    Args:
        optional: per modality whether a case may lack it.
        masked: per modality whether it is normalised inside the body; empty: none is.
    """

    def chosen(p: float) -> bool:
        return bool(rng.random() < p)

    def per_modality(p: float, p_channel: float, sample: Callable[[], float]) -> tuple[float, ...]:
        use = chosen(p)
        return tuple(sample() if use and chosen(p_channel) else float("nan") for _ in optional)

    def uniform(bounds: Range) -> Callable[[], float]:
        return lambda: float(rng.uniform(*bounds))

    def factor(bounds: Range) -> Callable[[], float]:
        return lambda: _two_sided(bounds, rng)

    rotate, rescale = chosen(recipe.p_rotation), chosen(recipe.p_scale)
    return AugmentDraw(
        rotation=tuple(float(np.deg2rad(rng.uniform(*recipe.rotation_deg))) if rotate else 0.0 for _ in range(3)),
        scale=_two_sided(recipe.scale, rng) if rescale else 1.0,
        mirror=tuple(axis in recipe.mirror_axes and chosen(0.5) for axis in range(3)),
        noise_sd=float(rng.uniform(*recipe.noise_sd)) if chosen(recipe.p_noise) else float("nan"),
        blur_sigma=per_modality(recipe.p_blur, recipe.p_blur_channel, uniform(recipe.blur_sigma)),
        brightness=per_modality(recipe.p_brightness, 1, uniform(recipe.brightness)),
        contrast=per_modality(recipe.p_contrast, 1, factor(recipe.contrast)),
        zoom=per_modality(
            recipe.p_low_resolution, recipe.p_low_resolution_channel, uniform(recipe.low_resolution_zoom)
        ),
        gamma_inverted=per_modality(recipe.p_gamma_inverted, 1, factor(recipe.gamma)),
        gamma=per_modality(recipe.p_gamma, 1, factor(recipe.gamma)),
        dropped=tuple(may and chosen(recipe.p_channel_dropout) for may in optional),
        masked=tuple(masked),
    )


def _two_sided(bounds: Range, rng: np.random.Generator) -> float:
    """Half the draws below 1, half above, where the range allows both (batchgenerators' rule for factors)."""
    low, high = bounds
    below = low < 1 and (high <= 1 or rng.random() < 0.5)
    return float(rng.uniform(low, 1) if below else rng.uniform(max(low, 1), high))
