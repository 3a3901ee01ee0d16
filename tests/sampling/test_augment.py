"""Augmentation applied: image and label move together, values by hand, padded or missing modalities stay zero."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy import ndimage

from uniseg.sampling.augment.affine import Affine, AffineDraw
from uniseg.sampling.augment.base import PatchImages
from uniseg.sampling.augment.blur import Blur
from uniseg.sampling.augment.brightness import Brightness
from uniseg.sampling.augment.contrast import Contrast
from uniseg.sampling.augment.gamma import Gamma, InvertedGamma
from uniseg.sampling.augment.low_resolution import LowResolution
from uniseg.sampling.augment.mirror import Mirror
from uniseg.sampling.augment.recipe import NNUNET, AugmentRecipe
from uniseg.sampling.augment.spatial import box_margin, sample_patch

PATCH = (8, 12, 10)
OFF = {each.name: 0.0 for kind in NNUNET for each in fields(kind) if each.name.startswith("p_")}


def nothing_but(**settings):
    """nnU-Net's recipe where all probabilities are 0 but those given."""
    return AugmentRecipe(**OFF | {"mirror_axes": ()} | settings)


def matrix_of(rotation=(0.0, 0.0, 0.0), scale=1.0, mirror=(False, False, False)):
    parts = (Affine().matrix(AffineDraw(rotation, scale)), Mirror().matrix(mirror))
    return np.linalg.multi_dot([np.eye(3), *(part for part in parts if part is not None), np.eye(3)])


def coordinates(size):
    """An image whose value is its own position: z + 100 y + 10000 x, from the centre."""
    z, y, x = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in size), indexing="ij")
    return z + 100 * y + 10000 * x


def box_of(matrix):
    return coordinates([p + 2 * m for p, m in zip(PATCH, box_margin(matrix, PATCH), strict=True)])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [90, -20])
@pytest.mark.parametrize("scale", [0.7, 1, 1.4])
def test_voxels_come_from_where_the_matrix_says(axis, degrees, scale):
    matrix = matrix_of(tuple(np.deg2rad(degrees) if a == axis else 0.0 for a in range(3)), scale)
    box = box_of(matrix)
    image, _ = sample_patch(box[None], torch.zeros(box.shape, dtype=torch.int16), matrix, PATCH)
    offsets = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in PATCH), indexing="ij"))
    source = np.einsum("ij,j...->i...", matrix, offsets)
    np.testing.assert_allclose(image[0], source[0] + 100 * source[1] + 10000 * source[2], rtol=1e-4, atol=0.6)


def test_rotation_about_z_turns_y_into_x():
    turned = matrix_of((np.pi / 2, 0.0, 0.0))
    np.testing.assert_allclose(turned @ [1, 0, 0], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(turned @ [0, 1, 0], [0, 0, 1], atol=1e-12)


def test_the_box_is_as_large_as_the_draw_needs():
    assert box_margin(None, PATCH) == box_margin(matrix_of(mirror=(True, False, True)), PATCH) == (0, 0, 0)
    assert box_margin(matrix_of(scale=2.0), (9, 9, 9)) == (4, 4, 4)
    assert box_margin(matrix_of(scale=0.5), (9, 9, 9)) == (-2, -2, -2)


def test_label_moves_with_the_image():
    matrix = matrix_of((0.3, -0.2, 0.4), 1.2, (True, False, True))
    box = box_of(matrix)
    label = (box > 0).to(torch.int16)
    image, moved = sample_patch(box[None], label, matrix, PATCH)
    agree = ((image[0] > 0) == (moved == 1)).float().mean()
    assert agree > 0.97


def test_mirror_is_a_flip():
    image, label = torch.rand(2, *PATCH), torch.randint(0, 3, PATCH).to(torch.int16)
    flipped, flipped_label = sample_patch(image, label, matrix_of(mirror=(False, True, False)), PATCH)
    assert torch.equal(flipped, image.flip(2))
    assert torch.equal(flipped_label, label.flip(1))


def augmented(recipe, image, num_modalities, seed=0):
    """``image`` after one draw per sample."""
    rng = np.random.default_rng(seed)
    draws = [recipe.draw(rng, (False,) * m) for m in num_modalities]
    image = image.clone()
    recipe.apply_intensity(PatchImages(image, num_modalities, range(len(image))), draws)
    return image


ALL = {name: 1.0 for name in OFF if name not in ("p_rotation", "p_scale", "p_channel_dropout")}


def test_padded_modalities_stay_zero():
    image = torch.randn(2, 4, *PATCH)
    image[0, 1:] = 0
    out = augmented(nothing_but(**ALL), image, [1, 4])
    assert out[0, 1:].abs().max() == 0
    assert (out[1] - image[1]).abs().mean((1, 2, 3)).min() > 0.01


def test_a_modality_that_the_case_lacks_stays_zero():
    """As it is at prediction."""
    image = torch.randn(1, 2, *PATCH)
    image[0, 1] = 0
    out = augmented(nothing_but(**ALL), image, [2])
    assert out[0, 1].abs().max() == 0
    assert (out[0, 0] - image[0, 0]).abs().mean() > 0.1


def test_values_by_hand():
    rows = torch.tensor([0.0, 1, 2, 3]).view(1, 1, 1, 4)
    assert Brightness().change(rows, torch.tensor([2.0])).flatten().tolist() == [0, 2, 4, 6]
    assert Contrast().change(rows, torch.tensor([0.5])).flatten().tolist() == [0.75, 1.25, 1.75, 2.25]
    assert Contrast().change(rows, torch.tensor([2.0])).flatten().tolist() == [0, 0.5, 2.5, 3]


@pytest.mark.parametrize("transform", [Gamma(), InvertedGamma()])
def test_gamma_keeps_mean_and_spread_but_bends(transform):
    rows = torch.rand(2, *PATCH) ** 2 * 5 - 1
    out = transform.change(rows, torch.tensor([1.5, 0.7]))
    torch.testing.assert_close(out.mean((1, 2, 3)), rows.mean((1, 2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std((1, 2, 3)), rows.std((1, 2, 3)), atol=1e-4, rtol=0)
    assert (out - rows).abs().max() > 0.1


def test_blur_is_the_gaussian():
    rows = torch.randn(2, *PATCH)
    expected = np.stack(
        [ndimage.gaussian_filter(row.numpy(), sigma) for row, sigma in zip(rows, (0.6, 0.9), strict=True)]
    )
    np.testing.assert_allclose(Blur().change(rows, torch.tensor([0.6, 0.9])), expected, atol=1e-5)


def test_low_resolution_loses_detail_but_not_the_mean():
    rows = torch.randn(1, 16, 16, 16)
    out = LowResolution().change(rows, torch.tensor([0.5]))
    assert out.diff(dim=3).abs().mean() < 0.7 * rows.diff(dim=3).abs().mean()
    flat = torch.full((1, 8, 8, 8), 3.0)
    torch.testing.assert_close(LowResolution().change(flat, torch.tensor([0.6])), flat, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [Brightness, Blur, LowResolution, Gamma, InvertedGamma, Contrast])
def test_rows_in_one_go_equal_rows_one_by_one(kind):
    """As a GPU and a CPU take them."""
    rows, parameters = torch.randn(6, *PATCH), torch.linspace(0.6, 0.95, 6)
    alone = [kind().change(row[None], p[None])[0] for row, p in zip(rows, parameters, strict=True)]
    torch.testing.assert_close(kind().change(rows, parameters), torch.stack(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("names", [("p_rotation",), ("p_scale",), ("p_rotation", "p_scale")])
def test_a_label_made_from_the_image_stays_so(names):
    recipe = nothing_but(**dict.fromkeys(names, 1.0), mirror_axes=(0, 1, 2))
    rng = np.random.default_rng(0)
    for _ in range(5):
        matrix = recipe.draw(rng, (False,)).matrix
        axes = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in box_of(matrix).shape), indexing="ij")
        ball = (sum((axis - 1) ** 2 for axis in axes) + 1e-3).sqrt()
        image, label = sample_patch(ball[None], (ball < 4).to(torch.int16), matrix, PATCH)
        sure = (image[0] - 4).abs() > 1  # further from the border than half a voxel's diagonal
        assert torch.equal((image[0] < 4)[sure], (label == 1)[sure])
        assert label.any()


@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (0, 1, 2)])
def test_only_the_axes_of_the_recipe_are_mirrored(axes):
    rng, mirror = np.random.default_rng(0), Mirror(mirror_axes=axes)
    mirrors = np.array([mirror.draw(rng, (False,)) for _ in range(200)])
    assert np.flatnonzero(mirrors.any(0)).tolist() == list(axes)
    assert all(0.4 < fraction < 0.6 for fraction in mirrors.mean(0)[list(axes)])


@pytest.mark.parametrize("mirror", [(True, False, False), (False, True, True)])
@pytest.mark.parametrize("rotation", [(0.0, 0.0, 0.0), (0.2, -0.3, 0.1)])
def test_mirroring_follows_rotation_and_scale(mirror, rotation):
    plain, mirrored = matrix_of(rotation, 1.2), matrix_of(rotation, 1.2, mirror)
    box = box_of(plain)
    label = (box > 0).to(torch.int16)
    axes = [axis for axis in range(3) if mirror[axis]]
    image, moved = sample_patch(box[None], label, plain, PATCH)
    flipped, flipped_label = sample_patch(box[None], label, mirrored, PATCH)
    torch.testing.assert_close(flipped[0], image[0].flip(axes), rtol=1e-4, atol=0.1)
    assert (flipped_label == moved.flip(axes)).float().mean() > 0.99


def test_scaling_by_axes_equals_the_grid():
    scaled, almost = matrix_of(scale=1.3), matrix_of((1e-7, 0.0, 0.0), 1.3)
    box = torch.randn(2, *box_of(scaled).shape)
    label = torch.randint(0, 4, box.shape[1:]).to(torch.int16)
    by_axes, by_grid = (sample_patch(box, label, matrix, PATCH) for matrix in (scaled, almost))
    torch.testing.assert_close(by_axes[0], by_grid[0], atol=1e-4, rtol=1e-4)
    assert (by_axes[1] == by_grid[1]).float().mean() > 0.99
