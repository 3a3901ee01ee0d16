"""Two segmentations of the same patients: is the difference more than noise?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap, t, wilcoxon

FEWEST = 6  # patients that a test is made for
FEWEST_NON_INFERIOR = 20  # patients that non-inferiority is judged on: fewer hide a rare miss too often
NUM_RESAMPLES = 2000
MOST_RESAMPLED = 1000  # patients; of more, Student's interval and a bootstrap's agree, and the latter takes seconds
LEVEL = 0.95
ALPHA = 0.05
NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """Of a mean over patients, 95 %; NaN where there are too few.

    Examples:
        >>> mean_interval(np.full(3, 0.25)), mean_interval(np.array([0.25])).text
        (Interval(low=0.25, high=0.25), '-')
    """

    low: float
    high: float

    @property
    def text(self) -> str:
        """With signs, for a table of differences."""
        return f"{self.low:+.3f} to {self.high:+.3f}" if self.low <= self.high else "-"


@dataclass(frozen=True)
class Comparison:
    """One segmentation against another on the same patients; NaN without patients.

    Attributes:
        difference: mean over patients.
        median: of the differences.
        shift: Hodges and Lehmann's, the median of the means of all pairs of differences: a few misses hardly move it.
        num_patients: that have a score on both sides.
        interval: of the mean difference, 95 %.
        p: two-sided, Wilcoxon's signed ranks; None: fewer than six patients.
        wins, ties, losses: patients.

    Examples:
        >>> six, twenty = (compare(np.full(n, 0.75), np.full(n, 0.5)) for n in (6, 20))
        >>> six.difference, six.shift, six.wins, six.p
        (0.25, 0.25, 6, 0.03125)
        >>> six.non_inferior(0.02), twenty.non_inferior(0.02)
        (None, True)
    """

    difference: float
    median: float
    shift: float
    num_patients: int
    interval: Interval
    p: float | None
    wins: int
    ties: int
    losses: int

    def non_inferior(self, margin: float) -> bool | None:
        """Whether the interval stays above ``-margin``; None, it cannot be told: fewer than twenty patients."""
        return None if self.num_patients < FEWEST_NON_INFERIOR else self.interval.low > -margin

    @property
    def unseen_fraction(self) -> float:
        return unseen_fraction(self.num_patients)


def unseen_fraction(num_patients: int) -> float:
    """Of all patients: what befalls fewer of them, as a rare miss, may not show in ``num_patients`` (at 95 %).

    No interval knows of what did not show.

    Examples:
        >>> [round(unseen_fraction(n), 2) for n in (6, 20, 100)]
        [0.39, 0.14, 0.03]
    """
    return 1 - (1 - LEVEL) ** (1 / num_patients) if num_patients else 1.0


def by_patient(patients: Sequence[str], values: Sequence[float]) -> tuple[tuple[str, ...], np.ndarray]:
    """The patients in order, each once, with the mean of each one's values ``[P]``."""
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    return tuple(names.tolist()), np.bincount(index, np.asarray(values, float)) / np.bincount(index)


def mean_interval(values: np.ndarray) -> Interval:
    """Of the mean of ``values [P]``, one per patient, NaN left out: Student's, and as far as BCa where that reaches
    further. NaN for fewer than two patients.

    Student's alone is too short on the side of rare misses, a bootstrap alone for fewer than some forty patients.

    Examples:
        >>> one_missed = np.array([0.01] * 19 + [-0.8])
        >>> t_interval(one_missed).text, mean_interval(one_missed).text
        ('-0.115 to +0.054', '-0.193 to +0.054')
    """
    values = _known(values)
    student = t_interval(values)
    if not 2 <= len(values) <= MOST_RESAMPLED or np.ptp(values) <= 1e-12:
        return student
    with np.errstate(all="ignore"):
        rng = np.random.default_rng(0)
        found = bootstrap((values,), np.mean, confidence_level=LEVEL, n_resamples=NUM_RESAMPLES, method="BCa", rng=rng)
    low, high = found.confidence_interval
    return Interval(float(np.fmin(student.low, low)), float(np.fmax(student.high, high)))


def t_interval(values: np.ndarray) -> Interval:
    """Student's, of the mean of ``values [P]``; NaN for fewer than two.

    Examples:
        >>> t_interval(np.full(5, 0.25))
        Interval(low=0.25, high=0.25)
    """
    if len(values) < 2:
        return Interval(NAN, NAN)
    half = float(t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def hodges_lehmann(values: np.ndarray) -> float:
    """Median of the means of all pairs of ``values [P]``, each with itself too; NaN without values.

    Examples:
        >>> hodges_lehmann(np.array([0.0, 0.5, -8.0]))
        -1.875
    """
    return _median(np.concatenate([(values[k:] + values[k]) / 2 for k in range(len(values))] or [values]))


def compare(values: np.ndarray, other_values: np.ndarray) -> Comparison:
    """Scores ``[P]`` of both, one per patient; runs of one kind are averaged first, since a run is no patient. Patients
    without a score (NaN) on either side do not count.
    """
    difference = _known(np.asarray(values, float) - other_values)
    enough = len(difference) >= FEWEST
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    return Comparison(
        difference=float(difference.mean()) if len(difference) else NAN,
        median=_median(difference),
        shift=hodges_lehmann(difference),
        num_patients=len(difference),
        interval=mean_interval(difference),
        p=None if not enough else float(wilcoxon(difference).pvalue) if difference.any() else 1.0,
        wins=wins,
        ties=len(difference) - wins - losses,
        losses=losses,
    )


def _known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else NAN


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted for the number of tests (Holm 1979); None stays and does not count."""
    tested = sorted((i for i, p in enumerate(p_values) if p is not None), key=lambda i: p_values[i])
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, i in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * p_values[i]))
        adjusted[i] = least
    return adjusted
