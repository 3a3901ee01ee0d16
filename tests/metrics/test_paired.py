"""Paired differences by hand."""

import numpy as np
import pytest
from scipy.stats import bootstrap, wilcoxon

from paired_differences import MISS, OF_EQUALS, RARE, draw
from uniseg.metrics.paired import (
    FEWEST_NON_INFERIOR,
    by_patient,
    compare,
    hodges_lehmann,
    holm,
    mean_interval,
    t_interval,
    unseen_fraction,
)


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
    assert (found.median, found.shift) == pytest.approx((0.1, 0.1))


def test_noise_is_no_difference():
    change = np.array([0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.0, 0.0])
    found = compare(0.5 + change, np.full(8, 0.5))
    assert found.p == pytest.approx(float(wilcoxon(change).pvalue))
    assert found.p > 0.9
    assert (found.wins, found.ties, found.losses) == (3, 2, 3)


def test_few_patients_are_not_tested():
    found = compare(np.full(5, 0.9), np.full(5, 0.1))
    assert (found.difference, found.p, found.non_inferior(0.1)) == (pytest.approx(0.8), None, None)
    assert compare(np.full(6, 0.5), np.full(6, 0.5)).p == 1


def test_non_inferior_cannot_be_told_below_twenty_patients():
    change = np.linspace(-0.05, 0.05, FEWEST_NON_INFERIOR)
    whole, fewer = compare(0.5 + change, np.full(20, 0.5)), compare(0.5 + change[1:], np.full(19, 0.5))
    assert (whole.non_inferior(0.02), whole.non_inferior(0.01)) == (True, False)
    assert fewer.p is not None
    assert fewer.non_inferior(1.0) is None


def test_no_patient_and_one_are_answered_plainly():
    nobody, one = compare(np.empty(0), np.empty(0)), compare(np.array([0.75]), np.array([0.5]))
    numbers = (nobody.difference, nobody.median, nobody.shift, nobody.interval.low, one.interval.low, one.interval.high)
    assert np.isnan(numbers).all()
    assert (nobody.num_patients, nobody.p, nobody.wins, nobody.losses, nobody.unseen_fraction) == (0, None, 0, 0, 1)
    assert (one.difference, one.median, one.shift, one.wins, one.p) == (0.25, 0.25, 0.25, 1, None)
    assert (one.non_inferior(0.1), one.interval.text) == (None, "-")


def test_patients_without_a_score_do_not_count():
    nan = float("nan")
    known = compare(np.arange(7) / 10, np.zeros(7))
    assert compare(np.array([nan, *np.arange(7) / 10, 0.9]), np.array([0.1, *[0] * 7, nan])) == known
    assert known.num_patients == 7
    assert mean_interval(np.array([nan, 0.1, 0.3])) == mean_interval(np.array([0.1, 0.3]))


def test_ties_are_neither_wins_nor_losses():
    found = compare(np.array([0.5] * 5 + [0.6, 0.7]), np.full(7, 0.5))
    assert (found.wins, found.ties, found.losses, found.median, found.shift) == (2, 5, 0, 0, 0)
    assert found.p == pytest.approx(0.5)


def test_the_shift_by_hand():
    assert hodges_lehmann(np.array([1.0, 2.0, 6.0])) == pytest.approx((2.0 + 3.5) / 2)  # of 1 1.5 2 3.5 4 6
    many = np.append(np.full(20, 0.02), -0.8)
    assert hodges_lehmann(many) == pytest.approx(0.02)
    assert many.mean() < 0


def test_the_interval_reaches_as_far_as_either():
    missed = np.append(np.linspace(-0.01, 0.03, 39), -0.8)
    student, both = t_interval(missed), mean_interval(missed)
    resampled = bootstrap((missed,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(0))
    assert both.low == pytest.approx(resampled.confidence_interval.low)
    assert both.low < student.low - 0.01
    assert both.high == student.high
    even = np.linspace(-0.1, 0.1, 6)
    assert mean_interval(even) == t_interval(even)
    assert mean_interval(missed) == both, "the same each time"


def test_the_interval_narrows_with_patients():
    random = np.random.default_rng(1)
    few, many, most = (mean_interval(random.normal(size=n)) for n in (10, 1000, 50_000))
    assert many.high - many.low == pytest.approx(2 * 1.96 / 1000**0.5, rel=0.15)
    assert few.high - few.low > 5 * (many.high - many.low)
    assert most.high - most.low == pytest.approx(2 * 1.96 / 50_000**0.5, rel=0.02)
    assert mean_interval(np.full(3, 0.25)).text == "+0.250 to +0.250"


def rates(kind: str, num_patients: int, trials: int, margin: float = 0.02) -> tuple[float, float]:
    """How often the interval covers the true mean, and how often a network is called not inferior that is inferior by
    just the margin.
    """
    rng = np.random.default_rng(num_patients)
    covered = wrong = 0
    for _ in range(trials):
        change = draw(kind, rng, num_patients)
        found = compare(change - margin, np.zeros(num_patients))
        covered += found.interval.low <= -margin <= found.interval.high
        wrong += bool(found.non_inferior(margin))
    return covered / trials, wrong / trials


def test_a_network_inferior_by_the_margin_is_seldom_called_not_inferior():
    covered, wrong = rates("misses", FEWEST_NON_INFERIOR, 200)
    assert covered > 0.92
    assert wrong < 0.06


@pytest.mark.slow
@pytest.mark.parametrize("num_patients", [6, 20, 40])
@pytest.mark.parametrize("kind", OF_EQUALS)
def test_the_interval_covers_what_equal_networks_give(kind, num_patients):
    covered, wrong = rates(kind, num_patients, 400)
    assert covered > 0.91
    assert wrong < 0.05


@pytest.mark.slow
def test_what_a_long_tail_costs():
    """Measured 0.89, 0.93, 0.95 and, of non-inferiority, 0.066, 0.03: what decisions.md says."""
    coverage = {n: rates("skewed", n, 400) for n in (6, 20, 40)}
    assert coverage[6][0] > 0.84
    assert coverage[20][0] > 0.88
    assert coverage[40][0] > 0.9
    assert coverage[20][1] < 0.11
    assert coverage[40][1] < 0.08


def test_the_unseen_fraction_is_what_no_patient_shows():
    assert (1 - unseen_fraction(8)) ** 8 == pytest.approx(0.05)
    assert [unseen_fraction(n) for n in (0, 1)] == [1.0, pytest.approx(0.95)]


@pytest.mark.slow
def test_no_interval_knows_of_misses_that_did_not_happen():
    """One network misses 8 % of patients: of six, none is there in 61 % of the draws, of twenty in 19 %."""
    for num_patients in (6, 20, 40):
        covered, wrong = rates("hidden_misses", num_patients, 300)
        unseen = (1 - RARE) ** num_patients
        assert covered == pytest.approx(1 - unseen, abs=0.08)
        assert wrong == (0 if num_patients < FEWEST_NON_INFERIOR else pytest.approx(unseen, abs=0.08))
    assert MISS * RARE > 0.02


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_was_not_tested_and_stays_a_probability():
    assert holm([None, 0.9, 0.02, None, 0.8]) == [None, 1.0, pytest.approx(0.06), None, 1.0]
