"""Supervoxels: what is marked is what is asked for."""

import sys

import numpy as np
import pytest
import torch

from samples import make_task
from uniseg.errors import InputError
from uniseg.pretext.base import PretextPatch
from uniseg.pretext.supervoxel import Supervoxel

SIZE = (12, 16, 20)
TASK = make_task("scans", ("T1",), ("background", "a", "b", "c"), (1, 1, 1), kind="pretext", objective="supervoxel")


def applied(label, seed=0, task=TASK):
    image = torch.rand(1, *label.shape, generator=torch.Generator().manual_seed(seed))
    objective = Supervoxel(radius=0)
    drawn = objective.draw(np.random.default_rng(seed), task, label.shape)
    return image, objective.apply(PretextPatch(image, label), drawn, task)


def octants():
    z, y, x = (torch.arange(n) >= n // 2 for n in SIZE)
    return (1 + 4 * z[:, None, None] + 2 * y[:, None].int() + x.int()).to(torch.int16)


@pytest.mark.parametrize("seed", range(5))
def test_a_class_is_the_whole_region_of_its_marked_voxel(seed):
    image, patch = applied(octants(), seed)
    low, high = image.min(), image.max()
    marks = (patch.image > high + 1.5 * (high - low)) * 3 + (patch.image < low) * 2
    marks = torch.where((patch.image > high) & (marks == 0), 1, marks)[0]
    assert (marks > 0).sum() == 3
    regions = set()
    for k in (1, 2, 3):
        (region,) = octants()[marks == k].tolist()
        assert torch.equal(patch.label == k, octants() == region)
        regions.add(region)
    assert len(regions) == 3
    assert torch.equal(patch.image[0, marks == 0], image[0, marks == 0])


def test_air_is_never_asked_for():
    label = torch.zeros(SIZE, dtype=torch.int16)
    image, patch = applied(label)
    assert not patch.label.any()
    assert torch.equal(patch.image, image)
    label[:, :, 10:] = 7
    for seed in range(10):
        _, patch = applied(label, seed)
        assert set(patch.label.unique().tolist()) <= {0, 1}
        assert not patch.label[:, :, :10].any()


def test_regions_follow_intensities_and_leave_air_out():
    z, y, x = np.meshgrid(*(np.arange(n) for n in (24, 24, 24)), indexing="ij")
    ball = (z - 15) ** 2 + (y - 12) ** 2 + (x - 12) ** 2 < 60
    image = np.where(ball, 1.0, 0.5) + np.random.default_rng(0).normal(0, 0.02, ball.shape)
    image[:7] = 0
    label = Supervoxel(region_mm=8.0).label_of(image[None].astype(np.float32), TASK)
    assert label.dtype == np.int16
    assert not label[:2].any()
    inside = [np.mean(ball[label == k]) for k in np.unique(label[label > 0])]
    assert len(inside) > 10
    assert np.mean([min(part, 1 - part) < 0.1 for part in inside]) > 0.9
    coarse = Supervoxel(region_mm=16.0).label_of(image[None].astype(np.float32), TASK)
    assert len(np.unique(coarse)) < len(np.unique(label)) / 3


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(InputError, match=r"no scikit-image; .*; pip install 'uniseg\[pretext\]'"):
        Supervoxel().label_of(np.zeros((1, 8, 8, 8), np.float32), TASK)
