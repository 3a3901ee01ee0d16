"""Augmentation applied: batched equals one by one, image with label moves together, off is identity."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from uniseg.stream.augment.draws import AugmentDraw
from uniseg.stream.augment.intensity import augment_intensity, blur, brighten, change_contrast, gamma, gamma_inverted, lower_resolution
from uniseg.stream.augment.spatial import box_margin, grid_matrix, sample_patch

NAN = float("nan")
PATCH = (8, 12, 10)


def still(num_modalities: int = 1, **changes) -> AugmentDraw:
    nothing = (NAN,) * num_modalities
    base = AugmentDraw((0.0, 0.0, 0.0), 1.0, (False,) * 3, NAN, nothing, nothing, nothing, nothing, nothing, nothing, (False,) * num_modalities)
    return replace(base, **changes)


def coordinates(size):
    """An image whose value is its own position: z + 100 y + 10000 x, from the centre."""
    z, y, x = torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in size), indexing="ij")
    return z + 100 * y + 10000 * x


def box_of(draw):
    margin = box_margin(draw, PATCH)
    size = [p + 2 * m for p, m in zip(PATCH, margin, strict=True)]
    return coordinates(size)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [90, -20])
@pytest.mark.parametrize("scale", [0.7, 1, 1.4])
def test_voxels_come_from_where_the_matrix_says(axis, degrees, scale):
    rotation = tuple(np.deg2rad(degrees) if a == axis else 0.0 for a in range(3))
    draw = still(rotation=rotation, scale=scale)
    box = box_of(draw)
    image, _ = sample_patch(box[None], torch.zeros(box.shape, dtype=torch.int16), draw, PATCH)
    offsets = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in PATCH), indexing="ij"))
    source = np.einsum("ij,j...->i...", grid_matrix(draw), offsets)
    np.testing.assert_allclose(image[0], source[0] + 100 * source[1] + 10000 * source[2], rtol=1e-4, atol=0.6)


def test_rotation_about_z_turns_y_into_x():
    turned = grid_matrix(still(rotation=(np.pi / 2, 0.0, 0.0)))
    np.testing.assert_allclose(turned @ [1, 0, 0], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(turned @ [0, 1, 0], [0, 0, 1], atol=1e-12)


def test_the_box_is_as_large_as_the_draw_needs():
    assert box_margin(still(), PATCH) == (0, 0, 0)
    assert box_margin(still(scale=2.0), (9, 9, 9)) == (4, 4, 4)
    assert box_margin(still(scale=0.5), (9, 9, 9)) == (-2, -2, -2)


def test_label_moves_with_the_image():
    draw = still(rotation=(0.3, -0.2, 0.4), scale=1.2, mirror=(True, False, True))
    box = box_of(draw)
    label = (box > 0).to(torch.int16)
    image, moved = sample_patch(box[None], label, draw, PATCH)
    agree = ((image[0] > 0) == (moved == 1)).float().mean()
    assert agree > 0.97


def test_mirror_is_a_flip():
    image, label = torch.rand(2, *PATCH), torch.randint(0, 3, PATCH).to(torch.int16)
    flipped, flipped_label = sample_patch(image, label, still(mirror=(False, True, False)), PATCH)
    assert torch.equal(flipped, image.flip(2))
    assert torch.equal(flipped_label, label.flip(1))


def busy(seed: int) -> AugmentDraw:
    u = np.random.default_rng(seed).uniform
    return still(
        2, noise_sd=u(0, 0.1), blur_sigma=(u(0.5, 1), NAN), brightness=(u(0.75, 1.25), u(0.75, 1.25)), contrast=(NAN, u(0.75, 1.25)),
        zoom=(u(0.5, 1), u(0.5, 1)), gamma_inverted=(NAN, u(0.7, 1.5)), gamma=(u(0.7, 1.5), NAN),
    )  # fmt: skip


def test_batched_equals_one_by_one():
    image = torch.randn(3, 2, *PATCH)
    draws, seeds = [busy(1), still(2), busy(3)], [11, 12, 13]
    together = augment_intensity(image.clone(), draws, seeds)
    alone = torch.cat([augment_intensity(image[i : i + 1].clone(), draws[i : i + 1], seeds[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(together[1], image[1])
    assert (together[0] - image[0]).abs().max() > 0.01


def test_padded_modalities_stay_zero():
    image = torch.randn(2, 4, *PATCH)
    image[0, 1:] = 0
    out = augment_intensity(image.clone(), [still(1, noise_sd=0.5, gamma=(1.3,)), still(4, noise_sd=0.5)], [1, 2])
    assert out[0, 1:].abs().max() == 0
    assert (out[1] - image[1]).abs().min(0).values.max() > 0


def test_values_by_hand():
    rows = torch.tensor([0.0, 1, 2, 3]).view(1, 1, 1, 4)
    assert brighten(rows, torch.tensor([2.0])).flatten().tolist() == [0, 2, 4, 6]
    assert change_contrast(rows, torch.tensor([0.5])).flatten().tolist() == [0.75, 1.25, 1.75, 2.25]
    assert change_contrast(rows, torch.tensor([2.0])).flatten().tolist() == [0, 0.5, 2.5, 3]


@pytest.mark.parametrize("transform", [gamma, gamma_inverted])
def test_gamma_keeps_mean_and_spread_but_bends(transform):
    rows = torch.rand(2, *PATCH) ** 2 * 5 - 1
    out = transform(rows, torch.tensor([1.5, 0.7]))
    torch.testing.assert_close(out.mean((1, 2, 3)), rows.mean((1, 2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std((1, 2, 3)), rows.std((1, 2, 3)), atol=1e-4, rtol=0)
    assert (out - rows).abs().max() > 0.1


def test_blur_is_the_gaussian():
    from scipy import ndimage

    rows = torch.randn(2, *PATCH)
    expected = np.stack([ndimage.gaussian_filter(row.numpy(), sigma) for row, sigma in zip(rows, (0.6, 0.9), strict=True)])
    np.testing.assert_allclose(blur(rows, torch.tensor([0.6, 0.9])), expected, atol=1e-5)


def test_low_resolution_loses_detail_but_not_the_mean():
    rows = torch.randn(1, 16, 16, 16)
    out = lower_resolution(rows, torch.tensor([0.5]))
    assert out.diff(dim=3).abs().mean() < 0.7 * rows.diff(dim=3).abs().mean()
    flat = torch.full((1, 8, 8, 8), 3.0)
    torch.testing.assert_close(lower_resolution(flat, torch.tensor([0.6])), flat, atol=1e-4, rtol=0)
