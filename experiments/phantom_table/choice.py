"""The learning rate of each arm, by its val patches."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jobs import FIRST_RATES, LADDER, Arm, choices


@dataclass(frozen=True)
class Chosen:
    """Val Dice of every candidate by its learning rate, mean over the arm's trainings; the best is chosen, of equals
    the lowest.
    """

    val: Mapping[float, float]

    @property
    def learning_rate(self) -> float:
        return max(sorted(self.val), key=lambda rate: self.val[rate])

    @property
    def wider(self) -> tuple[float, ...]:
        """The candidates, with the next of the ladder where the best one is an edge of them."""
        places = sorted(LADDER.index(rate) for rate in self.val)
        best = LADDER.index(self.learning_rate)
        low = max(0, places[0] - (best == places[0]))
        return LADDER[low : places[-1] + (best == places[-1]) + 1]


def candidates(arms: Sequence[Arm], runs: Path) -> dict[str, tuple[float, ...]]:
    """Name of the arm -> the learning rates to try, as far as what was tried tells; done when all have a result."""
    rates = {}
    for arm in arms:
        tried = FIRST_RATES
        while _is_tried(arm, tried, runs) and (wider := _chosen(arm, tried, runs).wider) != tried:
            tried = wider
        rates[arm.name] = tried
    return rates


def choose(arms: Sequence[Arm], runs: Path) -> dict[str, Chosen]:
    """Name of the arm -> its learning rate. All jobs of ``candidates`` must be done."""
    return {
        arm.name: _chosen(arm, rates, runs) for arm, rates in zip(arms, candidates(arms, runs).values(), strict=True)
    }


def _is_tried(arm: Arm, rates: Sequence[float], runs: Path) -> bool:
    return all(job.result.exists() for job in choices((arm,), {arm.name: rates}, runs))


def _chosen(arm: Arm, rates: Sequence[float], runs: Path) -> Chosen:
    jobs = choices((arm,), {arm.name: rates}, runs)
    return Chosen({rate: _mean([job.result for job in jobs if job.training.learning_rate == rate]) for rate in rates})


def _mean(results: Sequence[Path]) -> float:
    return float(np.mean([json.loads(path.read_text())["dev_dice"] for path in results]))
