"""Two arms on the same patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

FEWEST = 6  # patients that a test is made for


@dataclass(frozen=True)
class Comparison:
    """One arm against another on the patients of a task.

    Attributes:
        difference: mean over patients.
        p: two-sided, Wilcoxon's signed ranks; None: too few patients.
    """

    difference: float
    num_patients: int
    p: float | None


def by_patient(patients: Sequence[str], values: Sequence[float]) -> tuple[tuple[str, ...], np.ndarray]:
    """The patients in order, each once, with the mean of each one's values ``[P]``."""
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    return tuple(names.tolist()), np.bincount(index, np.asarray(values, float)) / np.bincount(index)


def compare(own: np.ndarray, other: np.ndarray) -> Comparison:
    """Scores ``[seeds, P]`` of two arms; the seeds of a patient are averaged first, since they are no patients of their own."""
    difference = own.mean(0) - other.mean(0)
    enough = len(difference) >= FEWEST
    p = None if not enough else float(wilcoxon(difference).pvalue) if difference.any() else 1.0
    return Comparison(float(difference.mean()), len(difference), p)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted for the number of tests (Holm 1979); None stays and does not count."""
    tested = sorted((i for i, p in enumerate(p_values) if p is not None), key=lambda i: p_values[i])
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, i in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * p_values[i]))
        adjusted[i] = least
    return adjusted
