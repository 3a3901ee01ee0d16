"""Augmentation applied: batched equals one by one, image with label moves together, off is identity."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from uniseg.environment import CONF_DIR
from uniseg.sampling.augment.draws import AugmentDraw, draw
from uniseg.sampling.augment.intensity import (
    augment_intensity,
    blur,
    brighten,
    change_contrast,
    gamma,
    gamma_inverted,
    lower_resolution,
)
from uniseg.sampling.augment.spatial import box_margin, grid_matrix, sample_patch
from uniseg.sampling.batch import RawBatch
from uniseg.sampling.patches import make_batch
from uniseg.sampling.requests import PatchRequest

NAN = float("nan")
PATCH = (8, 12, 10)


def still(num_modalities: int = 1, **changes) -> AugmentDraw:
    nothing = (NAN,) * num_modalities
    base = AugmentDraw(
        (0.0, 0.0, 0.0),
        1.0,
        (False,) * 3,
        NAN,
        nothing,
        nothing,
        nothing,
        nothing,
        nothing,
        nothing,
        (False,) * num_modalities,
    )
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
        2, noise_sd=u(0, 0.1), blur_sigma=(u(0.5, 1), NAN), brightness=(u(0.75, 1.25), u(0.75, 1.25)),
        contrast=(NAN, u(0.75, 1.25)),
        zoom=(u(0.5, 1), u(0.5, 1)), gamma_inverted=(NAN, u(0.7, 1.5)), gamma=(u(0.7, 1.5), NAN),
    )  # fmt: skip


def test_batched_equals_one_by_one():
    image = torch.randn(3, 2, *PATCH)
    draws, seeds = [busy(1), still(2), busy(3)], [11, 12, 13]
    together = augment_intensity(image.clone(), draws, seeds)
    alone = torch.cat(
        [augment_intensity(image[i : i + 1].clone(), draws[i : i + 1], seeds[i : i + 1]) for i in range(3)]
    )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(together[1], image[1])
    assert (together[0] - image[0]).abs().max() > 0.01


def test_padded_modalities_stay_zero():
    image = torch.randn(2, 4, *PATCH)
    image[0, 1:] = 0
    out = augment_intensity(image.clone(), [still(1, noise_sd=0.5, gamma=(1.3,)), still(4, noise_sd=0.5)], [1, 2])
    assert out[0, 1:].abs().max() == 0
    assert (out[1] - image[1]).abs().min(0).values.max() > 0


def test_a_modality_that_the_case_lacks_stays_zero():
    """As it is at prediction."""
    image = torch.randn(1, 2, *PATCH)
    image[0, 1] = 0
    out = augment_intensity(image.clone(), [replace(busy(1), noise_sd=0.5, gamma=(1.3, 0.8), contrast=(1.2, 1.2))], [1])
    assert out[0, 1].abs().max() == 0
    assert (out[0, 0] - image[0, 0]).abs().mean() > 0.1


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
    expected = np.stack(
        [ndimage.gaussian_filter(row.numpy(), sigma) for row, sigma in zip(rows, (0.6, 0.9), strict=True)]
    )
    np.testing.assert_allclose(blur(rows, torch.tensor([0.6, 0.9])), expected, atol=1e-5)


def test_low_resolution_loses_detail_but_not_the_mean():
    rows = torch.randn(1, 16, 16, 16)
    out = lower_resolution(rows, torch.tensor([0.5]))
    assert out.diff(dim=3).abs().mean() < 0.7 * rows.diff(dim=3).abs().mean()
    flat = torch.full((1, 8, 8, 8), 3.0)
    torch.testing.assert_close(lower_resolution(flat, torch.tensor([0.6])), flat, atol=1e-4, rtol=0)


def shipped(name: str = "nnunet", **changes):
    return replace(instantiate(OmegaConf.load(CONF_DIR / "augment" / f"{name}.yaml"), _convert_="all"), **changes)


def nothing_but(*names: str):
    """The shipped recipe where all probabilities are 0 but those named, which are 1."""
    base = shipped()
    off = {field: 0.0 for field in vars(base) if field.startswith("p_")}
    return replace(base, **off | dict.fromkeys(names, 1.0), mirror_axes=())


TRANSFORMS = {
    "rotation": ("p_rotation",), "scale": ("p_scale",), "noise": ("p_noise",), "blur": ("p_blur", "p_blur_channel"),
    "brightness": ("p_brightness",), "contrast": ("p_contrast",),
    "low resolution": ("p_low_resolution", "p_low_resolution_channel"),
    "inverted gamma": ("p_gamma_inverted",), "gamma": ("p_gamma",), "channel dropout": ("p_channel_dropout",),
}  # fmt: skip


def raw_batch(how, num_samples: int = 3, num_modalities: int = 2) -> RawBatch:
    rng, images, labels, requests = np.random.default_rng(5), [], [], []
    for place in range(num_samples):
        one = draw(how, (False,) + (True,) * (num_modalities - 1), rng)
        size = [n + 2 * m for n, m in zip(PATCH, box_margin(one, PATCH), strict=True)]
        images.append(torch.from_numpy(rng.normal(size=(num_modalities, *size)).astype(np.float32)))
        labels.append((images[-1][0] > 0.5).to(torch.int16))
        requests.append(PatchRequest(0, "case", 100 + place, False, one, 0, place))
    return RawBatch(images, labels, requests)


@pytest.mark.parametrize("names", TRANSFORMS.values(), ids=TRANSFORMS)
def test_every_transform_batched_equals_one_by_one(names):
    raw = raw_batch(nothing_but(*names))
    together = make_batch(raw, PATCH)
    for i in range(3):
        alone = make_batch(RawBatch(raw.images[i : i + 1], raw.labels[i : i + 1], raw.requests[i : i + 1]), PATCH)
        torch.testing.assert_close(together.image[i], alone.image[0], atol=1e-5, rtol=1e-5)
        assert torch.equal(together.label[i], alone.label[0])
    if raw.images[0].shape[1:] == PATCH:
        assert (together.image[0] - raw.images[0]).abs().max() > 1e-3


@pytest.mark.parametrize("transform", [brighten, blur, lower_resolution, gamma, gamma_inverted, change_contrast])
def test_rows_in_one_go_equal_rows_one_by_one(transform):
    rows, parameters = torch.randn(6, *PATCH), torch.linspace(0.6, 0.95, 6)
    alone = [transform(row[None], p[None])[0] for row, p in zip(rows, parameters, strict=True)]
    torch.testing.assert_close(transform(rows, parameters), torch.stack(alone), atol=1e-5, rtol=1e-5)


def test_probability_0_is_identity():
    raw = raw_batch(nothing_but())
    batch = make_batch(raw, PATCH)
    assert torch.equal(batch.image, torch.stack(raw.images))
    assert torch.equal(batch.label, torch.stack(raw.labels))


@pytest.mark.parametrize("names", [("p_rotation",), ("p_scale",), ("p_rotation", "p_scale")])
def test_a_label_made_from_the_image_stays_so(names):
    how = replace(nothing_but(*names), mirror_axes=(0, 1, 2))
    rng = np.random.default_rng(0)
    for _ in range(5):
        one = draw(how, (False,), rng)
        box = box_of(one)
        ball = (
            sum(
                (box_axis - 1) ** 2
                for box_axis in torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in box.shape), indexing="ij")
            )
            + 1e-3
        ).sqrt()
        image, label = sample_patch(ball[None], (ball < 4).to(torch.int16), one, PATCH)
        sure = (image[0] - 4).abs() > 1  # further from the border than half a voxel's diagonal
        assert torch.equal((image[0] < 4)[sure], (label == 1)[sure])
        assert label.any()


@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (0, 1, 2)])
def test_only_the_axes_of_the_recipe_are_mirrored(axes):
    rng = np.random.default_rng(0)
    mirrors = np.array([draw(shipped(mirror_axes=axes), (False,), rng).mirror for _ in range(200)])
    assert np.flatnonzero(mirrors.any(0)).tolist() == list(axes)
    assert all(0.4 < share < 0.6 for share in mirrors.mean(0)[list(axes)])


@pytest.mark.parametrize("mirror", [(True, False, False), (False, True, True)])
@pytest.mark.parametrize("rotation", [(0.0, 0.0, 0.0), (0.2, -0.3, 0.1)])
def test_mirroring_follows_rotation_and_scale(mirror, rotation):
    plain, mirrored = still(rotation=rotation, scale=1.2), still(rotation=rotation, scale=1.2, mirror=mirror)
    box = box_of(plain)
    label = (box > 0).to(torch.int16)
    axes = [axis for axis in range(3) if mirror[axis]]
    image, moved = sample_patch(box[None], label, plain, PATCH)
    flipped, flipped_label = sample_patch(box[None], label, mirrored, PATCH)
    torch.testing.assert_close(flipped[0], image[0].flip(axes), rtol=1e-4, atol=0.1)
    assert (flipped_label == moved.flip(axes)).float().mean() > 0.99


def test_scaling_by_axes_equals_the_grid():
    scaled = still(scale=1.3)
    almost = still(scale=1.3, rotation=(1e-7, 0.0, 0.0))
    box = torch.randn(2, *box_of(scaled).shape)
    label = torch.randint(0, 4, box.shape[1:]).to(torch.int16)
    by_axes, by_grid = (sample_patch(box, label, one, PATCH) for one in (scaled, almost))
    torch.testing.assert_close(by_axes[0], by_grid[0], atol=1e-4, rtol=1e-4)
    assert (by_axes[1] == by_grid[1]).float().mean() > 0.99
