"""Volume fusion: what is mixed is what is asked for."""

import numpy as np
import pytest
import torch

from samples import make_task
from uniseg.errors import InputError
from uniseg.pretext.base import PretextPatch
from uniseg.pretext.volume_fusion import VolumeFusion

PATCH = (16, 24, 20)
TASK = make_task("scans", ("T1", "FLAIR"), tuple("abcde"), kind="pretext", objective="volume_fusion")
FUSION = VolumeFusion(boxes=(5, 9), size=(4, 12))


def applied(seed):
    first, second = torch.randn(2, *PATCH), torch.randn(2, *PATCH)
    drawn = FUSION.draw(np.random.default_rng(seed), TASK, PATCH)
    patch = PretextPatch(first, torch.zeros(PATCH, dtype=torch.int16))
    return first, second, drawn, FUSION.apply(patch, drawn, TASK, second)


@pytest.mark.parametrize("seed", range(3))
def test_every_voxel_is_mixed_by_its_level(seed):
    first, second, _, patch = applied(seed)
    weight = patch.label / 4
    assert torch.allclose(patch.image, weight * first + (1 - weight) * second, atol=1e-6)
    assert torch.equal(patch.image[:, patch.label == 0], second[:, patch.label == 0])


def test_boxes_lie_in_the_patch_and_the_later_covers_the_earlier():
    for seed in range(20):
        *_, boxes, patch = applied(seed)
        assert 5 <= len(boxes) <= 9
        for *corners, level in boxes:
            assert 0 <= level <= 4
            for start, stop, length in zip(corners[::2], corners[1::2], PATCH, strict=True):
                assert 0 <= start < stop <= length
                assert 4 <= stop - start <= 12
        z0, z1, y0, y1, x0, x1, level = boxes[-1]
        assert (patch.label[z0:z1, y0:y1, x0:x1] == level).all()
    drawn = VolumeFusion().draw(np.random.default_rng(0), TASK, (8, 8, 8))
    assert all(corner <= 8 for *corners, _ in drawn for corner in corners)


def test_all_levels_come_up():
    labels = torch.cat([applied(seed)[3].label.ravel() for seed in range(20)])
    assert labels.unique().tolist() == [0, 1, 2, 3, 4]


def test_one_level_alone_is_nothing_to_segment():
    task = make_task("scans", ("T1",), ("a",), kind="pretext", objective="volume_fusion")
    with pytest.raises(InputError, match="1 class; expected two or more, the levels of the mixture"):
        FUSION.check(task, PATCH)
