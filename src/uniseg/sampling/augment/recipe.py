"""A recipe: transforms in the order in which they are drawn and applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from uniseg.errors import InputError
from uniseg.sampling.augment.affine import Affine
from uniseg.sampling.augment.base import IntensityTransform, PatchImages, SpatialTransform, Transform
from uniseg.sampling.augment.blur import Blur
from uniseg.sampling.augment.brightness import Brightness
from uniseg.sampling.augment.channel_dropout import ChannelDropout
from uniseg.sampling.augment.contrast import Contrast
from uniseg.sampling.augment.gamma import Gamma, InvertedGamma
from uniseg.sampling.augment.low_resolution import LowResolution
from uniseg.sampling.augment.mirror import Mirror
from uniseg.sampling.augment.noise import Noise

# nnU-Net's, in its order; a seed means the same batches as long as this list stays.
NNUNET: tuple[type[Transform], ...] = (
    Affine,
    Mirror,
    Noise,
    Blur,
    Brightness,
    Contrast,
    LowResolution,
    InvertedGamma,
    Gamma,
    ChannelDropout,
)


@dataclass(frozen=True)
class AugmentDraw:
    """One sample's augmentation, as plain numbers.

    Attributes:
        values: what each transform of the recipe drew.
        matrix: 3x3 of all spatial transforms together, patch -> scan; None: the identity.
        masked: modalities that are 0 outside the body and have to stay so.

    Examples:
        >>> AugmentDraw(values=()).matrix is None
        True
    """

    values: tuple[Any, ...]
    matrix: tuple[tuple[float, ...], ...] | None = None
    masked: tuple[bool, ...] = ()


class AugmentRecipe:
    """nnU-Net's transforms, and others after them.

    Args:
        transforms: others, by name.
        settings: of nnU-Net's transforms, each read by those that have a field of this name.

    Raises:
        InputError: a value that its transform refuses; a key that no transform reads; something that is no transform.

    Examples:
        >>> recipe = AugmentRecipe(p_noise=0.5, mirror_axes=(1, 2))
        >>> recipe.draw(np.random.default_rng(0), optional=(False,)).masked
        ()
    """

    def __init__(self, transforms: Mapping[str, Transform] | None = None, **settings) -> None:
        known = {each.name for kind in NNUNET for each in fields(kind)}
        for key in settings:
            if key not in known:
                raise InputError(f"augment.{key}", "an unknown key", f"one of {', '.join(sorted(known))}", "correct it")
        self.transforms: list[Transform] = [
            kind(**{each.name: settings[each.name] for each in fields(kind) if each.name in settings})
            for kind in NNUNET
        ]
        for name, transform in (transforms or {}).items():
            if not isinstance(transform, (SpatialTransform, IntensityTransform)):
                expected = "a SpatialTransform or an IntensityTransform of uniseg.sampling.augment.base"
                fix = "name the class with _target_"
                raise InputError(f"augment.transforms.{name}", f"{transform!r:.100}", expected, fix)
            self.transforms.append(transform)

    def draw(self, rng: np.random.Generator, optional: Sequence[bool], masked: Sequence[bool] = ()) -> AugmentDraw:
        """All of a sample's random numbers.

        Args:
            optional: per modality whether a case may lack it.
            masked: per modality whether it is normalised inside the body; empty: none is.
        """
        values = tuple(transform.draw(rng, optional) for transform in self.transforms)
        matrix: np.ndarray | None = None
        for transform, value in zip(self.transforms, values, strict=True):
            if isinstance(transform, SpatialTransform) and (moved := transform.matrix(value)) is not None:
                matrix = moved if matrix is None else matrix @ moved
        return AugmentDraw(values, matrix if matrix is None else tuple(map(tuple, matrix.tolist())), tuple(masked))

    def apply_intensity(self, patches: PatchImages, draws: Sequence[AugmentDraw]) -> None:
        """Change the images in place by every intensity transform in its order."""
        for number, transform in enumerate(self.transforms):
            if isinstance(transform, IntensityTransform):
                transform.apply(patches, [each.values[number] for each in draws])
