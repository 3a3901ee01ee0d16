"""Paired differences by hand."""

import numpy as np
import pytest
from scipy.stats import wilcoxon

from uniseg.metrics.paired import bootstrap, by_patient, compare, holm


def test_a_patient_counts_once():
    patients, values = by_patient(["b", "a", "b"], [1.0, 0.5, 0.0])
    assert patients == ("a", "b")
    assert values.tolist() == [0.5, 0.5]


def test_a_clear_difference():
    other = np.linspace(0.3, 0.8, 10)
    found = compare(other + np.linspace(0.05, 0.15, 10), other)
    assert found.difference == pytest.approx(0.1)
    assert found.p == pytest.approx(2 / 2**10)
    assert (found.wins, found.ties, found.losses) == (10, 0, 0)
    assert 0.05 < found.interval.low < 0.1 < found.interval.high < 0.15
    assert found.non_inferior(0.0)


def test_noise_is_no_difference():
    change = np.array([0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.0, 0.0])
    found = compare(0.5 + change, np.full(8, 0.5))
    assert found.p == pytest.approx(float(wilcoxon(change).pvalue))
    assert found.p > 0.9
    assert (found.wins, found.ties, found.losses) == (3, 2, 3)
    assert not found.non_inferior(0.01)
    assert found.non_inferior(0.1)


def test_few_patients_are_not_tested():
    found = compare(np.full(5, 0.9), np.full(5, 0.1))
    assert (found.difference, found.p, found.non_inferior(0.1)) == (pytest.approx(0.8), None, None)
    assert compare(np.full(6, 0.5), np.full(6, 0.5)).p == 1


def test_the_interval_narrows_with_patients():
    random = np.random.default_rng(1)
    few, many = (bootstrap(random.normal(size=n)) for n in (10, 1000))
    assert many.high - many.low == pytest.approx(2 * 1.96 / 1000**0.5, rel=0.15)
    assert few.high - few.low > 5 * (many.high - many.low)
    assert bootstrap(np.full(3, 0.25)) == bootstrap(np.full(3, 0.25))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_was_not_tested_and_stays_a_probability():
    assert holm([None, 0.9, 0.02, None, 0.8]) == [None, 1.0, pytest.approx(0.06), None, 1.0]
