"""Resampling against SciPy's own, normalisation against the formulas."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from uniseg.preprocessing.preprocess import normalize
from uniseg.preprocessing.resample import (
    axis_matrix,
    axis_orders,
    axis_taps,
    resample,
    resample_image,
    resample_label,
    target_shape,
)
from uniseg.task import Normalization


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("shape", [(13, 20, 9), (5, 30, 31)])
def test_three_matrices_equal_scipys_zoom(order, shape):
    array = np.random.default_rng(0).normal(size=(8, 17, 12)).astype(np.float32)
    ours = resample(torch.from_numpy(array), shape, (order,) * 3).numpy()
    zoom = [m / n for n, m in zip(array.shape, shape, strict=True)]
    theirs = ndimage.zoom(array.astype(np.float64), zoom, order=order, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_slab_is_a_part_of_the_whole():
    array = torch.randn(2, 8, 9, 7)
    whole = resample(array, (21, 5, 6), (1, 1, 1))
    torch.testing.assert_close(resample(array, (21, 5, 6), (1, 1, 1), 4, 11), whole[:, 4:11], atol=1e-6, rtol=0)


def test_a_coarse_axis_is_resampled_apart():
    assert axis_orders(3, (7.7, 1.25, 1.25), (7.7, 2, 2)) == (0, 3, 3)
    assert axis_orders(3, (1, 1, 1), (1, 1, 4)) == (3, 3, 0)
    assert axis_orders(1, (3, 1, 1), (1, 1, 1)) == (1, 1, 1)
    assert axis_orders(3, (1, 1, 1), (4, 1, 1)) == (0, 3, 3)


def test_two_equally_coarse_axes_are_not_resampled_apart():
    """As nnU-Net 2.8.1's ``determine_do_sep_z_and_axis``, which does not look at the target then."""
    assert axis_orders(3, (5, 5, 1), (1, 1, 1)) == (3, 3, 3)
    assert axis_orders(1, (0.24, 1.25, 1.2500001), (4, 1, 1)) == (1, 1, 1)
    assert axis_orders(3, (1, 1, 1), (1, 4, 4)) == (3, 3, 3)
    assert axis_orders(3, (1, 5, 5.1), (1, 1, 1)) == (3, 3, 0)
    label = np.zeros((6, 6, 20), np.int16)
    label[2:4, 2:4, 5:15] = 1
    out = resample_label(label, (5, 5, 1), (2.5, 2.5, 1))
    assert [int(np.count_nonzero(out.any(axes))) for axes in ((1, 2), (0, 2), (0, 1))] == [4, 4, 10]
    assert np.array_equal(out, out.transpose(1, 0, 2))


def test_the_extent_is_kept():
    assert target_shape((10, 100, 1), (3, 0.5, 1), (1.5, 1, 1)) == (20, 50, 1)


def test_an_image_stays_within_its_range():
    array = (np.random.default_rng(0).random((1, 8, 8, 8)) > 0.5).astype(np.float32)
    out = resample_image(array, (2, 2, 2), (0.9, 1, 1.1))
    assert out.shape == (1, 18, 16, 15)
    assert out.min() == 0
    assert out.max() == 1


def test_labels_never_invent_a_value():
    label = np.zeros((12, 12, 12), np.int16)
    label[3:9, 3:9, 3:9] = 5
    label[5:7, 5:7, 5:7] = 1
    out = resample_label(label, (1, 1, 1), (0.5, 0.5, 0.5))
    assert set(np.unique(out)) == {0, 1, 5}
    assert np.count_nonzero(out == 1) == pytest.approx(8 * 8, rel=0.3)
    np.testing.assert_array_equal(resample_label(out, (0.5, 0.5, 0.5), (1, 1, 1)), label)


def test_a_thin_target_outlives_half_the_resolution():
    """Every voxel of it is a tie with the background there; a value that is ignored gives way too."""
    label = np.zeros((12, 12, 12), np.int16)
    label[:, :, :6] = -1
    label[4] = 1
    label[8, 2:4] = 2
    out = resample_label(label, (1, 1, 1), (2, 2, 2))
    assert (out[2] == 1).all()
    assert (out[4, 1] == 2).all()
    ball = (np.square(np.indices((48, 48, 48)) - 23.3).sum(0) < 100).astype(np.int16)
    assert 8 * resample_label(ball, (1, 1, 1), (2, 2, 2)).sum() == pytest.approx(ball.sum(), rel=0.05)


def test_normalisations_by_hand():
    array = np.array([-1000.0, -325, 0, 325, 1000], np.float32).reshape(1, 1, 1, 5)
    body = array[0] != 0
    window = normalize(array, (Normalization("window", lower=-325, upper=325),), body, (True,))
    assert window.ravel().tolist() == [0, 0, 0.5, 1, 1]
    scheme = normalize(array, (Normalization("fingerprint", lower=-100, upper=300, mean=100, sd=50),), body, (True,))
    assert scheme.ravel().tolist() == [-4, -4, -2, 4, 4]
    whole = normalize(array, (Normalization("zscore", masked=False),), body, (True,))
    np.testing.assert_allclose([whole.mean(), whole.std()], [0, 1], atol=1e-6)
    masked = normalize(array, (Normalization("zscore", masked=True),), body, (True,))
    assert masked[0, 0, 0, 2] == 0
    np.testing.assert_allclose(masked[0][body].std(), 1, atol=1e-6)
    assert {out.dtype for out in (window, scheme, whole, masked)} == {np.dtype(np.float32)}


def test_a_constant_image_is_no_division_by_zero():
    flat = np.full((1, 2, 2, 2), 7, np.float32)
    assert np.abs(normalize(flat, (Normalization("zscore", masked=False),), flat[0] != 0, (True,))).max() == 0


def test_a_modality_that_the_case_lacks_is_zero():
    array = np.stack([np.full((2, 2, 2), 7, np.float32), np.zeros((2, 2, 2), np.float32)])
    window = Normalization("window", lower=-325, upper=325)
    out = normalize(array, (window, window), array.any(0), (True, False))
    assert out[0].min() == pytest.approx(332 / 650)
    assert np.abs(out[1]).max() == 0


def test_planes_of_a_coarse_axis_keep_within_their_own_range():
    planes = np.array([1.0, 10, 100], np.float32)[:, None, None] * (np.random.default_rng(0).random((3, 16, 16)) > 0.5)
    out = resample_image(planes[None].astype(np.float32), (8, 1, 1), (4, 0.7, 0.7))[0]
    assert out.shape == (6, 23, 23)
    assert out.max((1, 2)).tolist() == [1, 1, 10, 10, 100, 100]
    assert out.min() == 0


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(
    ("size", "new_size"), [(1, 1), (1, 4), (5, 5), (5, 12), (12, 5), (7, 8), (100, 333), (6, 3), (4, 8)]
)
def test_taps_are_the_matrix(size, new_size, order):
    taps, old = axis_taps(size, new_size, order), np.random.default_rng(0).normal(size=size)
    moved = old[taps.low] * (1 - taps.fraction) + old[taps.high] * taps.fraction
    np.testing.assert_allclose(moved, axis_matrix(size, new_size, order) @ old, atol=1e-5)
    assert (taps.low[1:] >= taps.low[:-1]).all()
    assert (taps.high[1:] >= taps.high[:-1]).all()
