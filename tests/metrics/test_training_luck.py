"""The luck of a training: the prior is what the records of the experiments give."""

import json
import runpy
from pathlib import Path

import pytest

from uniseg.metrics.training_luck import TYPICAL_DEGREES, TYPICAL_SD, luck_of_trainings

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "training_luck"


def test_the_prior_is_that_of_the_records():
    """A record that changes changes what its script finds, and that the numbers here."""
    script = runpy.run_path(str(EXPERIMENT / "run.py"))
    found = dict(script["differences"]())
    spreads = {name: float(script["np"].std(values, ddof=1)) for name, values in found.items()}
    sd, degrees = script["fit"]([*spreads.values()], [len(values) for values in found.values()])
    recorded = json.loads((EXPERIMENT / "results.json").read_text())
    assert spreads == pytest.approx(recorded["spreads"])
    assert [sd, degrees] == pytest.approx([recorded["sd_of_a_difference"], recorded["degrees"]], rel=0.01)
    assert pytest.approx([sd, degrees], rel=0.02) == [TYPICAL_SD, TYPICAL_DEGREES]


def test_many_trainings_forget_the_prior():
    """Of twenty that differ by 0.04, Student's interval alone: 2.09 * 0.04 / sqrt(20)."""
    values = [0.1 + 0.04 * sign for sign in (1, -1)] * 10
    assert luck_of_trainings(values) == pytest.approx(2.09 * 0.04 * (20 / 19) ** 0.5 / 20**0.5, rel=0.03)
