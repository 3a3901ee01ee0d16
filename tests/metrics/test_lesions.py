"""Lesions counted by hand."""

import math

import numpy as np

from uniseg.metrics.lesions import LesionCounts, count_lesions


def row(*values):
    return np.array(values, bool).reshape(1, 1, -1)


def test_found_missed_false():
    reference = row(1, 1, 0, 0, 1, 0, 0, 0, 0, 1)
    predicted = row(0, 1, 0, 0, 0, 0, 1, 0, 1, 1)
    counts = count_lesions(predicted, reference)
    assert counts == LesionCounts(found=2, missed=1, false=1)
    assert counts.sensitivity == 2 / 3
    assert counts.f1 == 4 / 6
    assert count_lesions(predicted, reference, least_overlap=0.6) == LesionCounts(found=1, missed=2, false=1)


def test_corners_join_a_lesion():
    reference = np.zeros((2, 2, 2), bool)
    reference[0, 0, 0] = reference[1, 1, 1] = True
    assert count_lesions(np.zeros_like(reference), reference) == LesionCounts(0, 1, 0)


def test_one_guess_may_find_two():
    assert count_lesions(row(1, 1, 1), row(1, 0, 1)) == LesionCounts(2, 0, 0)


def test_nothing_is_no_lesion():
    counts = count_lesions(row(0, 0), row(0, 0))
    assert counts == LesionCounts(0, 0, 0)
    assert math.isnan(counts.sensitivity)
    assert math.isnan(counts.f1)
    assert count_lesions(row(1, 0), row(0, 0)).f1 == 0
