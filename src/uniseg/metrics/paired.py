"""Two segmentations of the same patients: is the difference more than noise?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t, wilcoxon

FEWEST = 6  # patients that a test is made for
NUM_RESAMPLES = 2000
LEVEL = 0.95
ALPHA = 0.05


@dataclass(frozen=True)
class Interval:
    """Of a mean over patients, 95 %: by bootstrap percentiles or by Student's distribution.

    Examples:
        >>> bootstrap(np.full(3, 0.25))
        Interval(low=0.25, high=0.25)
    """

    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """One segmentation against another on the same patients.

    Attributes:
        difference: mean over patients.
        interval: of that mean, 95 %.
        p: two-sided, Wilcoxon's signed ranks; None: fewer than six patients.
        wins, ties, losses: patients.

    Examples:
        >>> comparison = compare(np.full(6, 0.75), np.full(6, 0.5))
        >>> comparison.difference, comparison.wins, comparison.non_inferior(0.02)
        (0.25, 6, True)
    """

    difference: float
    num_patients: int
    interval: Interval
    p: float | None
    wins: int
    ties: int
    losses: int

    def non_inferior(self, margin: float) -> bool | None:
        """Whether the interval stays above ``-margin``; None: fewer than six patients."""
        return None if self.p is None else self.interval.low > -margin


def by_patient(patients: Sequence[str], values: Sequence[float]) -> tuple[tuple[str, ...], np.ndarray]:
    """The patients in order, each once, with the mean of each one's values ``[P]``."""
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    return tuple(names.tolist()), np.bincount(index, np.asarray(values, float)) / np.bincount(index)


def bootstrap(values: np.ndarray, seed: int = 0) -> Interval:
    """Of the mean of ``values [P]``, one per patient; NaN without values."""
    if not len(values):
        return Interval(float("nan"), float("nan"))
    picks = np.random.default_rng(seed).integers(len(values), size=(NUM_RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(1), [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high))


def t_interval(values: np.ndarray) -> Interval:
    """Student's, of the mean of ``values [P]``; unlike a bootstrap's percentiles it keeps its level for five patients.

    Examples:
        >>> t_interval(np.full(5, 0.25))
        Interval(low=0.25, high=0.25)
    """
    half = float(t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def compare(values: np.ndarray, other_values: np.ndarray) -> Comparison:
    """Scores ``[P]`` of both, one per patient; runs of one kind are averaged first, since a run is no patient."""
    difference = values - other_values
    enough = len(difference) >= FEWEST
    p = None if not enough else float(wilcoxon(difference).pvalue) if difference.any() else 1.0
    wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
    return Comparison(
        float(difference.mean()),
        len(difference),
        bootstrap(difference),
        p,
        wins,
        len(difference) - wins - losses,
        losses,
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted for the number of tests (Holm 1979); None stays and does not count."""
    tested = sorted((i for i, p in enumerate(p_values) if p is not None), key=lambda i: p_values[i])
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, i in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * p_values[i]))
        adjusted[i] = least
    return adjusted
