"""Helped, harmed or undecided: the interval decides, and chance alone seldom says helped."""

from dataclasses import replace

import numpy as np
import pytest

from paired_differences import OF_EQUALS, draw
from uniseg import InputError
from uniseg.evaluation.records import Score
from uniseg.evaluation.verdict import FEWEST_PATIENTS, Verdict, dice_by_patient, judge, mean_dice
from uniseg.metrics.paired import t_interval
from uniseg.metrics.training_luck import TYPICAL_DEGREES, TYPICAL_SD, luck_of_trainings

CHECKPOINTS = ("run/last.ckpt", "run/control/last.ckpt")
TRIALS = 1000


def verdict_of(differences, control=0.5):
    controls = {f"p{k}": control for k in range(len(differences))}
    return judge([{f"p{k}": control + d for k, d in enumerate(differences)}], [controls], CHECKPOINTS)


@pytest.mark.parametrize(
    ("differences", "outcome", "use"),
    [
        ((0.2, 0.22, 0.18, 0.21, 0.19), "helped", 0),
        ((-0.2, -0.22, -0.18, -0.21, -0.19), "harmed", 1),
        ((0.3, -0.2, 0.1, -0.1, 0.05), "undecided", 0),
        ((-0.3, 0.2, -0.1, 0.1, -0.05), "undecided", 1),
        ((0.0,) * 6, "undecided", 0),
    ],
)
def test_the_interval_decides(differences, outcome, use):
    verdict = verdict_of(differences)
    assert (verdict.outcome, verdict.use, verdict.reason) == (outcome, CHECKPOINTS[use], "")
    assert verdict.difference == pytest.approx(np.mean(differences))
    assert verdict.interval.low <= verdict.difference <= verdict.interval.high
    assert verdict.line().startswith(f"{outcome}: val Dice")
    assert verdict.line().endswith(f"use {CHECKPOINTS[use]}")


def test_the_interval_is_students_with_the_luck_of_one_training():
    interval = verdict_of([0.1, 0.2, 0.3, 0.4, 0.5]).interval
    half = np.hypot(0.19632, luck_of_trainings([0.3]))
    assert (interval.low, interval.high) == pytest.approx((0.3 - half, 0.3 + half), abs=1e-4)


def test_what_another_training_could_undo_is_undecided():
    verdict = verdict_of([0.1, 0.11, 0.09, 0.1, 0.1, 0.11])
    assert verdict.outcome == "undecided"
    assert "two trainings of one kind may differ by as much; repeats=3 may decide" in verdict.line()
    patients = [f"p{k}" for k in range(6)]
    pairs = [[dict.fromkeys(patients, dice) for dice in side] for side in ((0.53, 0.532, 0.531), (0.5, 0.501, 0.5))]
    thrice = judge(*pairs, CHECKPOINTS)
    assert (thrice.outcome, thrice.num_trainings, thrice.reason) == ("helped", 3, "")
    assert "3 trainings each" in thrice.line()


@pytest.mark.parametrize("num_trainings", [1, 2, 3])
def test_luck_alone_seldom_says_helped(num_trainings):
    """Differences between trainings as the prior has them, all patients alike: 2.5 % are meant to say helped."""
    rng = np.random.default_rng(num_trainings)
    sd = TYPICAL_SD * np.sqrt(TYPICAL_DEGREES / rng.chisquare(TYPICAL_DEGREES, TRIALS))
    shifts = rng.normal(0, sd[:, None], (TRIALS, num_trainings))
    low = [values.mean() - luck_of_trainings(values) > 0 for values in shifts]
    assert sum(low) / TRIALS == pytest.approx(0.025, abs=0.015)


def test_too_few_patients_decide_nothing_and_say_so():
    verdict = verdict_of([0.3] * (FEWEST_PATIENTS - 1))
    assert (verdict.outcome, verdict.interval) == ("undecided", None)
    assert "4 val patients, fewer than the 5" in verdict.line()
    assert "(1 val patient, fewer" in verdict_of([0.3]).line()
    nothing = verdict_of([])
    assert nothing.outcome == "undecided"
    assert nothing.use == CHECKPOINTS[0]
    assert "0 val patients" in nothing.line()


@pytest.mark.parametrize("num_patients", [5, 6, 8, 20])
@pytest.mark.parametrize("kind", OF_EQUALS)
def test_chance_alone_seldom_says_helped(kind, num_patients):
    """Both networks equal: at most 2.5 % of the verdicts are meant to say helped. Student's interval, which the
    verdict's always holds, is the upper limit; the verdict itself costs a bootstrap.
    """
    rng = np.random.default_rng(num_patients)
    intervals = [t_interval(draw(kind, rng, num_patients)) for _ in range(TRIALS)]
    assert sum(each.low > 0 for each in intervals) / TRIALS < 0.04
    assert sum(each.high < 0 for each in intervals) / TRIALS < 0.04
    for values in (draw(kind, rng, num_patients) for _ in range(5)):
        student, verdict = t_interval(values), verdict_of(values.tolist())
        assert verdict.interval.low <= student.low + 1e-9
        assert verdict.interval.high >= student.high - 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("num_patients", [3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", OF_EQUALS)
def test_verdicts_on_equal_networks(kind, num_patients):
    rng = np.random.default_rng(num_patients)
    outcomes = [verdict_of(draw(kind, rng, num_patients)).outcome for _ in range(300)]
    for outcome in ("helped", "harmed"):
        assert outcomes.count(outcome) / 300 < (0.06 if num_patients >= FEWEST_PATIENTS else 1e-9)


def test_what_a_verdict_cannot_hold_is_said():
    """No patient of five missed, three trainings that agree: a base that misses 8 % and gains as much on all others is
    called helpful in 66 %.
    """
    rng = np.random.default_rng(0)
    patients = [f"p{k}" for k in range(5)]
    verdicts = []
    for _ in range(100):
        differences = draw("hidden_misses", rng, 5)
        tuned = [dict(zip(patients, 0.5 + differences + shift, strict=True)) for shift in (-0.002, 0.0, 0.002)]
        verdicts.append(judge(tuned, [dict.fromkeys(patients, 0.5)] * 3, CHECKPOINTS))
    assert sum(verdict.outcome == "helped" for verdict in verdicts) / 100 == pytest.approx(0.92**5, abs=0.15)
    assert all("may not show what befalls up to 45 % of all" in verdict.line() for verdict in verdicts)


def test_what_helps_is_found():
    rng = np.random.default_rng(0)
    outcomes = [verdict_of(rng.normal(0.22, 0.08, 8)).outcome for _ in range(200)]
    assert outcomes.count("helped") > 150
    assert outcomes.count("harmed") == 0


def test_a_verdict_comes_back_from_its_file(tmp_path):
    path = tmp_path / "verdict.json"
    helped = verdict_of([0.2, 0.25, 0.2, 0.25, 0.22])
    for verdict in (helped, replace(helped, num_trainings=3, caveat="nobody knows"), verdict_of([0.1])):
        verdict.write(path)
        assert Verdict.read(path) == verdict
    path.write_text(path.read_text().replace("undecided", "splendid"))
    with pytest.raises(InputError, match=r"verdict\.json of uniseg.finetune"):
        Verdict.read(path)


def test_a_patient_counts_once_with_the_mean_of_its_scores():
    scores = [
        Score("liver", case, patient, name, dice, dice, 0.0, 1.0, 1.0)
        for case, patient, name, dice in [
            ("a1", "a", "liver", 0.8), ("a1", "a", "tumour", 0.4), ("a2", "a", "liver", 0.6), ("b", "b", "liver", 1.0),
        ]
    ]  # fmt: skip
    assert dice_by_patient(scores) == pytest.approx({"a": 0.6, "b": 1.0})


def test_what_has_no_dice_does_not_count():
    scores = [
        Score("liver", case, case, "liver", dice, dice, 0.0, 1.0, 1.0)
        for case, dice in [("a", 0.8), ("a", float("nan")), ("b", float("nan"))]
    ]
    assert dice_by_patient(scores) == {"a": 0.8}


def test_one_lucky_training_is_averaged_out():
    """By the first pair alone the base helps; over three pairs nothing is known."""
    rng = np.random.default_rng(0)
    patients = [f"p{k}" for k in range(8)]
    control = [dict(zip(patients, rng.normal(0.5, 0.01, 8).tolist(), strict=True)) for _ in range(3)]
    tuned = [dict.fromkeys(patients, dice) for dice in (0.7, 0.45, 0.35)]
    assert judge(tuned[:1], control[:1], CHECKPOINTS).outcome == "helped"
    verdict = judge(tuned, control, CHECKPOINTS)
    assert verdict.outcome == "undecided"
    assert verdict.fine_tuned["p3"] == pytest.approx(0.5)
    assert "3 trainings each" in verdict.line()
    assert mean_dice([{"a": 0.5, "b": 1.0}, {"a": 0.7}]) == {"a": pytest.approx(0.6)}


def test_a_caveat_is_said():
    verdict = replace(verdict_of([0.2, 0.22, 0.18, 0.21, 0.19]), caveat="the base is silent")
    assert verdict.line().endswith("(the base is silent)")
