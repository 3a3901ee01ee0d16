"""What a network is told of its training cases, and a scan brought to their histogram."""

import numpy as np
import pytest

from samples import make_task
from uniseg.preprocessing.histogram import NUM_KNOTS, histogram_knots, match_histogram, sample_image
from uniseg.preprocessing.task_statistics import (
    ClassRange,
    ClassSize,
    TaskStatistics,
    class_ranges,
    measure_class,
    measure_label,
)


def scan(seed=0):
    """A body of three tissues in noise, in air of exactly 0."""
    rng = np.random.default_rng(seed)
    image = rng.choice([0.3, 0.6, 0.9], (20, 30, 30)) + rng.normal(0, 0.02, (20, 30, 30))
    image[:, :6] = 0
    return image.astype(np.float32)


def test_matching_undoes_another_contrast_and_leaves_air():
    reference = histogram_knots([sample_image(scan(seed)) for seed in range(3)])
    assert len(reference) == NUM_KNOTS
    shifted = np.sqrt(scan()) * 1.7
    matched = match_histogram(shifted, reference)
    assert np.abs(shifted - scan())[:, 6:].mean() > 0.4
    assert np.abs(matched - scan())[:, 6:].mean() < 0.03
    assert not matched[:, :6].any()
    order = np.argsort(shifted[:, 6:], axis=None)
    assert (np.diff(matched[:, 6:].ravel()[order]) >= -1e-6).all()


def test_matching_to_itself_changes_little_and_an_empty_scan_not():
    assert np.abs(match_histogram(scan(), histogram_knots([sample_image(scan())])) - scan()).max() < 0.05
    assert not match_histogram(np.zeros((4, 4, 4), np.float32), histogram_knots([sample_image(scan())])).any()
    assert histogram_knots([]) == ()


def test_sizes_count_no_specks():
    mask = np.zeros((10, 20, 20), bool)
    mask[2:8, 2:12, 2:12], mask[2:8, 14:18, 14:18], mask[0, 0, 0] = True, True, True
    assert measure_class(mask, 0.01) == ClassSize((600 + 96 + 1) * 0.01, 2)
    assert measure_class(np.zeros((2, 2, 2), bool), 1) == ClassSize(0.0, 0)
    sizes = measure_label(mask * np.int16(2), make_task(), 1.0)
    assert (sizes["liver"].volume_ml, sizes["tumour"].volume_ml) == (0, 697)


@pytest.mark.parametrize("regions", [(), ((1, 2), (3, 9), (2,))])
def test_sizes_of_a_map_are_those_of_its_masks(regions):
    task = make_task(classes=("background", "a", "b", "c"), regions=regions)
    label = np.zeros((12, 20, 20), np.int8)
    label[1:4, 2:9, 3:8], label[8:11, 12:18, 1:4], label[8:11, 2:5, 14:19], label[0] = 1, 2, 3, -1
    label[5, 5, 5] = 2
    sizes = measure_label(label, task, 1.0)
    masks = [np.isin(label, values) for values in task.class_values]
    assert list(sizes.values()) == [measure_class(mask, 1.0) for mask in masks]
    assert [size.volume_ml for size in sizes.values()] == [mask.sum() for mask in masks]
    assert not any(size.volume_ml for size in measure_label(np.minimum(label, 0), task, 1.0).values())


def test_ranges_are_of_the_cases_that_have_the_class():
    cases = [{"a": ClassSize(v, n), "b": ClassSize(0, 0)} for v, n in ((10, 1), (0, 0), (30, 3))]
    assert class_ranges(cases) == {"a": ClassRange((10, 30), (1, 3), present=2 / 3)}


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [((20, 2), 0, 0), ((30, 3), 0, 0), ((300, 1), 2.1, 2.4), ((20, 30), 2.1, 2.4), ((1, 1), 1.1, 1.3), ((0, 0), 0, 0)],
)
def test_distance_is_the_logarithm_of_how_far_outside(size, low, high):
    assert low <= ClassRange((10, 30), (1, 3), present=0.5).distance(ClassSize(*size)) <= high


def test_a_class_that_every_case_had_may_not_be_missing():
    assert ClassRange((10, 30), (1, 3), present=1.0).distance(ClassSize(0, 0)) > 1


def test_they_come_back_from_plain_containers():
    statistics = TaskStatistics((histogram_knots([scan().ravel()]),), {"a": ClassRange((10.0, 30.0), (1.0, 3.0), 0.5)})
    again = TaskStatistics.from_dict(statistics.to_dict())
    assert again.ranges == statistics.ranges
    np.testing.assert_allclose(again.histograms, statistics.histograms, atol=1e-5)
    with pytest.raises(ValueError, match="histogram"):
        TaskStatistics.from_dict({"histograms": [[1, 2]], "ranges": {}})
