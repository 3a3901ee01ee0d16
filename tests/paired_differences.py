"""Paired differences of Dice as real comparisons have them, of mean 0: misses, ties, one-sided tails."""

import numpy as np

MISS = 0.8  # of Dice, what a patient missed whole loses
RARE = 0.08  # of patients


def draw(kind: str, rng: np.random.Generator, num_patients: int) -> np.ndarray:
    """``[P]`` of mean 0. Of these, all but ``skewed`` and ``hidden_misses`` are what two equal networks give."""
    n = num_patients
    noise = rng.normal(0, 0.02, n)
    if kind == "normal":
        return noise
    if kind == "heavy":
        return rng.standard_t(3, n) / 50
    if kind == "dice":
        return rng.beta(4, 1, n) - rng.beta(4, 1, n)
    if kind == "ties":
        return np.where(rng.random(n) < 0.5, 0.0, noise)
    if kind == "misses":  # of either network, alike
        return noise - MISS * (rng.random(n) < RARE) + MISS * (rng.random(n) < RARE)
    if kind == "skewed":
        return 0.03 - rng.exponential(0.03, n)
    if kind == "hidden_misses":  # of the first network alone, which is better on all other patients
        return np.where(rng.random(n) < RARE, -MISS, noise + MISS * RARE / (1 - RARE))
    raise ValueError(kind)


OF_EQUALS = ("normal", "heavy", "dice", "ties", "misses")
