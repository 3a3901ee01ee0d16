"""The luck of a training: how far trainings lie apart that differ in their seed alone."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from uniseg.metrics.paired import LEVEL, Interval

# Of the difference of two trainings' mean Dice, same patients: standard deviation, and the degrees of freedom that this
# prior is worth (few: the spread of one comparison is not that of another). Measured: experiments/training_luck.
TYPICAL_SD, TYPICAL_DEGREES = 0.0075, 0.84


def luck_of_trainings(differences: Sequence[float]) -> float:
    """Half of the 95 % interval that luck gives the mean of ``differences [K]``, each of two trainings' mean Dice.

    The variance of so few is moderated by the typical one (Smyth 2004), which is all that there is for one pair.

    Examples:
        >>> [round(luck_of_trainings([0.1] * pairs), 3) for pairs in (1, 2, 3, 5)]
        [0.151, 0.017, 0.008, 0.004]
        >>> round(luck_of_trainings([0.05, 0.03, 0.11]), 3)
        0.067
    """
    values = np.asarray(differences, float)
    own = len(values) - 1
    variance = float(values.var(ddof=1)) if own else 0.0
    degrees = TYPICAL_DEGREES + own
    moderated = (TYPICAL_DEGREES * TYPICAL_SD**2 + own * variance) / degrees
    return float(t.ppf((1 + LEVEL) / 2, degrees) * np.sqrt(moderated / len(values)))


def with_luck(interval: Interval, mean: float, luck: float) -> Interval:
    """The interval of ``mean`` over patients, as much wider as independent ``luck`` makes it.

    Examples:
        >>> with_luck(Interval(0.07, 0.14), 0.1, 0.04).text
        '+0.050 to +0.157'
    """
    return Interval(
        mean - float(np.hypot(mean - interval.low, luck)), mean + float(np.hypot(interval.high - mean, luck))
    )
