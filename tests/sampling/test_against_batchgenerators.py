"""The effect of every transform is distributed as batchgeneratorsv2's: the same image, a few hundred draws on each
side.
"""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from uniseg.losses.deep_supervision import shrink
from uniseg.sampling.augment.base import PatchImages
from uniseg.sampling.augment.mirror import Mirror
from uniseg.sampling.augment.recipe import NNUNET, AugmentRecipe
from uniseg.sampling.augment.spatial import box_margin, sample_patch

pytest.importorskip("batchgeneratorsv2", reason="batchgeneratorsv2 is not installed: pip install 'uniseg[bench]'")

from batchgenerators.augmentations.resample_augmentations import augment_linear_downsampling_scipy
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform

pytestmark = pytest.mark.slow

PATCH, FIELD = (20, 24, 28), (52, 52, 52)
DRAWS = 400
QUANTILES = (0.02, 0.25, 0.5, 0.75, 0.98)
# As nnU-Net v2's trainer sets them, but one blur for all axes with half of the scales below 1, as nnU-Net v1 does, with
# which UniSeg was published.
SPATIAL = {
    "patch_center_dist_from_border": 0,
    "random_crop": False,
    "rotation": (-np.pi / 6, np.pi / 6),
    "scaling": BGContrast((0.7, 1.4)),
}


def lower_resolution(image: Tensor) -> dict[str, Tensor]:
    """Up again by a cubic spline, which batchgeneratorsv2 no longer has; batchgenerators does."""
    return {
        "image": torch.from_numpy(
            augment_linear_downsampling_scipy(
                image.numpy(), (0.5, 1), p_per_channel=1, order_downsample=0, order_upsample=3
            )
        )
    }


THEIRS = {
    "p_noise": GaussianNoiseTransform((0, 0.1), 1, True),
    "p_blur": GaussianBlurTransform((0.5, 1.0), False, True, 1),
    "p_brightness": MultiplicativeBrightnessTransform(BGContrast((0.75, 1.25)), False, 1),
    "p_contrast": ContrastTransform(BGContrast((0.75, 1.25)), True, False, 1),
    "p_low_resolution": lower_resolution,
    "p_gamma_inverted": GammaTransform(BGContrast((0.7, 1.5)), 1, False, 1, 1),
    "p_gamma": GammaTransform(BGContrast((0.7, 1.5)), 0, False, 1, 1),
    "p_rotation": SpatialTransform(PATCH, p_rotation=1, **SPATIAL),
    "p_scale": SpatialTransform(PATCH, p_scaling=1, p_synchronize_scaling_across_axes=1, **SPATIAL),
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recipe(**changes) -> AugmentRecipe:
    """The shipped ranges; nothing happens but ``changes``."""
    names = [each.name for kind in NNUNET for each in fields(kind)]
    off = {name: 0.0 for name in names if name.startswith("p_") and not name.endswith("_channel")}
    return AugmentRecipe(**off | {"p_blur_channel": 1, "p_low_resolution_channel": 1, "mirror_axes": ()} | changes)


def field() -> Tensor:
    """A bright ellipsoid on a slope with texture."""
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in FIELD)]
    smooth = np.exp(-6 * (3 * z**2 + 2 * y**2 + x**2)) + 0.3 * x + 0.2 * np.sin(9 * y) * np.cos(7 * z)
    return torch.from_numpy(smooth + 0.1 * np.random.default_rng(0).normal(size=FIELD)).float()


def centre(array: Tensor, size: tuple[int, ...]) -> Tensor:
    return array[tuple(slice((n - m) // 2, (n + m) // 2) for n, m in zip(FIELD, size, strict=True))].clone()


def effect(patch: Tensor) -> list[float]:
    """Mean, deviation, roughness, quantiles."""
    rough = np.mean([float(patch.diff(dim=axis).abs().mean()) for axis in range(3)])
    return [
        float(patch.mean()),
        float(patch.std()),
        float(rough),
        *torch.quantile(patch.flatten(), torch.tensor(QUANTILES)).tolist(),
    ]


def ours(how: AugmentRecipe) -> np.ndarray:
    rng, source, effects = np.random.default_rng(1), field(), []
    for seed in range(DRAWS):
        draw = how.draw(rng, (False,))
        size = tuple(n + 2 * m for n, m in zip(PATCH, box_margin(draw.matrix, PATCH), strict=True))
        box = centre(source, size)
        image, _ = sample_patch(box[None], torch.zeros(size, dtype=torch.int16), draw.matrix, PATCH)
        how.apply_intensity(PatchImages(image[None], [1], [seed]), [draw])
        effects.append(effect(image[0]))
    return np.array(effects)


def theirs(transform: Callable, size: tuple[int, ...]) -> np.ndarray:
    np.random.seed(2)
    torch.manual_seed(2)
    source = centre(field(), size)[None]
    return np.array([effect(transform(image=source.clone())["image"][0]) for _ in range(DRAWS)])


@pytest.mark.parametrize("name", THEIRS)
def test_effects_are_distributed_alike(name):
    spatial = isinstance(THEIRS[name], SpatialTransform)
    a, b = ours(recipe(**{name: 1.0})), theirs(THEIRS[name], FIELD if spatial else PATCH)
    untouched = np.array(effect(centre(field(), PATCH)))
    assert np.abs(b - untouched).max() > 0.01
    allowed = 0.25 * b.std(0) + 0.02 * untouched[1]
    assert (np.abs(a.mean(0) - b.mean(0)) < allowed).all()
    assert (np.abs(a.std(0) - b.std(0)) < allowed).all()
    for q in (0.1, 0.5, 0.9):
        assert (np.abs(np.quantile(a, q, axis=0) - np.quantile(b, q, axis=0)) < 2 * allowed).all()


@pytest.mark.parametrize("name", ["p_rotation", "p_scale"])
def test_matrices_are_distributed_alike(name):
    rng = np.random.default_rng(3)
    np.random.seed(4)
    image = torch.zeros(1, *FIELD)
    a = [np.array(recipe(**{name: 1.0}).draw(rng, (False,)).matrix) for _ in range(2 * DRAWS)]
    b = [THEIRS[name].get_parameters(image=image)["affine"] for _ in range(2 * DRAWS)]

    def size_with_angle(matrices: list[np.ndarray]) -> np.ndarray:
        sizes = np.cbrt([np.linalg.det(m) for m in matrices])
        angles = [np.arccos(np.clip((np.trace(m) / s - 1) / 2, -1, 1)) for m, s in zip(matrices, sizes, strict=True)]
        return np.stack([sizes, angles], 1)

    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        np.testing.assert_allclose(
            np.quantile(size_with_angle(a), q, axis=0), np.quantile(size_with_angle(b), q, axis=0), atol=0.05
        )


def test_mirrors_are_distributed_alike():
    rng = np.random.default_rng(5)
    torch.manual_seed(6)
    a = [Mirror(mirror_axes=(0, 2)).draw(rng, (False,)) for _ in range(2 * DRAWS)]
    mirror = MirrorTransform((0, 2))
    b = [tuple(axis in mirror.get_parameters()["axes"] for axis in range(3)) for _ in range(2 * DRAWS)]
    kinds = sorted(set(a) | set(b))
    assert len(kinds) == 4
    np.testing.assert_allclose([a.count(k) for k in kinds], [b.count(k) for k in kinds], atol=0.06 * 2 * DRAWS)


def test_targets_of_the_coarse_scales_are_the_same():
    label = torch.randint(-1, 5, (2, 16, 48, 40), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    scales = [[1, 1, 1], [1, 0.5, 0.5], [0.5, 0.25, 0.25], [0.25, 0.125, 0.125]]
    for expected in DownsampleSegForDSTransform(scales)(segmentation=label)["segmentation"]:
        assert torch.equal(shrink(label, expected.shape[1:]), expected)
