"""The guard lets through what agrees better and stays plausible, and keeps the base in every other case."""

import pytest

from uniseg.adaptation.guard import KEEP, Evidence, Verdict, judge, judge_site
from uniseg.adaptation.settings import AdaptSettings
from uniseg.preprocessing.task_statistics import ClassRange, ClassSize

RANGES = {"liver": ClassRange((900, 2000), (1, 2), 1.0), "tumour": ClassRange((1, 50), (1, 4), 0.5)}
SETTINGS = AdaptSettings()


def evidence(views=0.7, agreement=1.0, liver=(1500, 1), tumour=(20, 1)):
    return Evidence(views, agreement, {"liver": ClassSize(*liver), "tumour": ClassSize(*tumour)})


BASE = evidence()


def test_better_agreement_of_a_plausible_answer_is_used():
    verdict = judge(BASE, evidence(views=0.75, agreement=0.9), RANGES, SETTINGS)
    assert verdict.use, verdict.reason


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (evidence(views=0.705, agreement=0.9), "agree no better"),
        (evidence(views=0.6, agreement=1.0), "agree no better"),
        (evidence(views=1.0, agreement=0.0, liver=(0, 0), tumour=(0, 0)), "nothing is left of liver, tumour"),
        (evidence(views=1.0, agreement=0.7, tumour=(0, 0)), "nothing is left of tumour"),
        (evidence(views=1.0, agreement=0.7, liver=(90000, 1)), "liver moves away"),
        (evidence(views=0.8, agreement=0.8, liver=(1500, 40)), "liver moves away"),
        (evidence(views=0.8, agreement=0.3), "another answer"),
    ],
)
def test_everything_else_keeps_the_base(candidate, reason):
    verdict = judge(BASE, candidate, RANGES, SETTINGS)
    assert not verdict.use
    assert reason in verdict.reason
    assert verdict.word == KEEP


@pytest.mark.parametrize("ranges", [None, {}])
def test_a_base_that_does_not_know_its_training_cases_is_kept(ranges):
    assert not judge(BASE, evidence(views=0.99, agreement=0.99), ranges, SETTINGS).use


def test_an_implausible_base_may_be_left_for_another_answer():
    missed = evidence(views=0.4, liver=(40, 9))
    assert judge(missed, evidence(views=0.6, agreement=0.1), RANGES, SETTINGS).use


def test_a_site_needs_most_of_its_scans():
    verdicts = {str(k): Verdict(k > 0, "") for k in range(5)}
    assert judge_site(verdicts, SETTINGS).use
    assert not judge_site(verdicts | {"0": Verdict(False, ""), "1": Verdict(False, "")}, SETTINGS).use
    assert not judge_site({}, SETTINGS).use
