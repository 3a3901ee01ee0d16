"""Grids: when two are one, linear resampling from one onto another."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from uniseg.errors import InputError
from uniseg.images.grid import Grid, is_same, offset_in, require_same, resample_onto


def grid(shape=(4, 5, 6), spacing=(3.0, 2, 1), origin=(0.0, 0, 0), name="a.nii.gz"):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return Grid(Path(name), shape, affine)


def test_rounding_of_a_header_is_no_other_grid():
    assert is_same(grid(origin=(0.01, 0, 0)), grid())
    assert is_same(grid(spacing=(3.001, 2, 1)), grid())


@pytest.mark.parametrize(
    "other",
    [
        grid(shape=(4, 5, 7)),
        grid(origin=(0, 0.1, 0)),
        grid(spacing=(3, 2, 1.02)),
        grid((512, 512, 512), (1, 1, 1.001)),
        grid((1, 5, 6), (3.5, 2, 1)),
    ],
)
def test_what_moves_a_voxel_is_another_grid(other):
    first = grid(
        other.shape if other.shape[0] != 4 else (4, 5, 6), (1.0, 1, 1) if other.shape[0] == 512 else (3.0, 2, 1)
    )
    assert not is_same(other, first)
    with pytest.raises(InputError, match=r"a\.nii\.gz: found"):
        require_same(other, first)


def test_the_offset_of_a_part_is_whole_voxels():
    assert offset_in(grid((1, 1, 1), origin=(-3, 4, 2)), grid()) == (-1, 2, 2)
    with pytest.raises(InputError, match="found affine"):
        offset_in(grid((1, 1, 1), origin=(-3, 5, 2)), grid())


def test_a_linear_ramp_stays_the_ramp_on_any_grid():
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([10, 20, -15], degrees=True).as_matrix()
    moving, target = grid((30, 30, 30), (2.0, 2, 2), (-20, -20, -20)), grid((8, 9, 10), (1.5, 1, 2), (1, 2, 3))
    moving = Grid(moving.path, moving.shape, turn @ moving.affine)

    def ramp(where):
        points = where.affine @ np.stack([*np.indices(where.shape).reshape(3, -1), np.ones(np.prod(where.shape))])
        return (np.array([1, -2, 0.5]) @ points[:3] + 100).reshape(where.shape).astype(np.float32)

    np.testing.assert_allclose(resample_onto(ramp(moving)[None], moving, target)[0], ramp(target), atol=1e-3)


def test_voxels_outside_get_the_minimum():
    array = np.stack([np.full((2, 2, 2), 7, np.float32), np.arange(8, dtype=np.float32).reshape(2, 2, 2) - 5])
    moving, target = grid((2, 2, 2), (2.0, 2, 2)), grid((1, 1, 8), (1.0, 1, 1), (0, 0, -2))
    out = resample_onto(array, moving, target)
    np.testing.assert_array_equal(out[0], np.full((1, 1, 8), 7))
    np.testing.assert_allclose(out[1, 0, 0], [-5, -5, -5, -4.5, -4, -4, -5, -5])
    assert out.dtype == np.float32
