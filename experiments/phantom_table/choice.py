"""The learning rate of each arm, by its val patches."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jobs import LEARNING_RATES, Arm, choices


@dataclass(frozen=True)
class Chosen:
    """Val Dice of every candidate, mean over the arm's trainings, with the best.

    Attributes:
        val: in the order of ``LEARNING_RATES``.
    """

    learning_rate: float
    val: tuple[float, ...]


def choose(arms: Sequence[Arm], runs: Path) -> dict[str, Chosen]:
    """Name of the arm -> its learning rate: the best on val, of equals the lowest.

    All jobs of ``choices`` must be done.
    """
    chosen = {}
    for arm in arms:
        jobs = choices((arm,), runs)
        val = [
            float(
                np.mean(
                    [
                        json.loads(job.result.read_text())["dev_dice"]
                        for job in jobs
                        if job.training.learning_rate == rate
                    ]
                )
            )
            for rate in LEARNING_RATES
        ]
        chosen[arm.name] = Chosen(LEARNING_RATES[int(np.argmax(val))], tuple(val))
    return chosen
