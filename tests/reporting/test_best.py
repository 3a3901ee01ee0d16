"""The best of several configurations: by means over patients, then tasks; told apart by a paired test alone."""

import csv
import json

import numpy as np
import pytest

from uniseg.commands.app import run
from uniseg.errors import InputError
from uniseg.evaluation.crossval import CrossvalRecord
from uniseg.evaluation.records import Score, write_scores
from uniseg.evaluation.summary import summarise
from uniseg.metrics.paired import mean_interval
from uniseg.metrics.registry import packaged_metrics
from uniseg.reporting.best import TOO_FEW, lines, patient_values, rank, read_candidate
from uniseg.reporting.compare import read_evaluated
from uniseg.run_folder import CrossvalFolder
from uniseg.weights.transfer_report import WeightsReport

DICE = packaged_metrics()["dice"]
BASE = [0.5, 0.6, 0.7, 0.55, 0.65, 0.75, 0.62, 0.58]


def score(patient, dice, task="liver", class_name="liver"):
    return Score(task, patient, patient, class_name, dice, dice, 0.1, 5.0, 5.0)


def crossval(path, scores, parameters=None, split="val"):
    """A folder as ``uniseg.crossval`` leaves it."""
    folder = CrossvalFolder(path)
    CrossvalRecord(path.name, 5, {}, "1").write(folder.record)
    write_scores(scores, folder.pooled.scores)
    summarise(scores, split=split).write(folder.pooled.metrics)
    if parameters is not None:
        WeightsReport(parameters, parameters, None).write(folder.fold(0).transfer_report)
    return path


def runs(tmp_path, parameters=(500, 400, 300)):
    """b is a little better than a on most patients, c worse on all."""
    noise = [0.02, -0.01, 0.02, -0.005, 0.01, 0.02, -0.01, 0.01]
    values = {"a": BASE, "b": [x + d for x, d in zip(BASE, noise, strict=True)], "c": [x - 0.2 for x in BASE]}
    named = zip(values.items(), parameters, strict=True)
    return [
        crossval(tmp_path / name, [score(f"p{k}", x) for k, x in enumerate(dice)], number)
        for (name, dice), number in named
    ]


def ranked(folders):
    return rank([read_candidate(folder, folder.name, DICE) for folder in folders])


def test_the_best_is_named_and_what_cannot_be_told_from_it(tmp_path):
    best, second, third = ranked(runs(tmp_path))
    assert [each.candidate.name for each in (best, second, third)] == ["b", "a", "c"]
    assert best.candidate.score == pytest.approx(np.mean(BASE) + 0.055 / 8)
    expected = mean_interval(np.array(list(best.candidate.values.values())))
    assert (best.candidate.interval.low, best.candidate.interval.high) == pytest.approx((expected.low, expected.high))
    assert second.verdict == "cannot be told from the best"
    assert (third.verdict, third.p_holm) == ("worse", pytest.approx(2 * 2 / 2**8))
    assert third.comparison.difference == pytest.approx(-0.2 - 0.055 / 8)
    told = lines([best, second, third])
    assert told[0].startswith("Best: b, val Dice 0.626 (95 % interval ")
    assert told[1].startswith("a: cannot be told from the best; val Dice 0.619, difference -0.007 (")


@pytest.mark.parametrize(
    ("parameters", "simpler"), [((300, 400, 100), True), ((500, 400, 300), False), ((None, 400, 1), False)]
)
def test_the_simpler_of_those_not_told_apart(tmp_path, parameters, simpler):
    """c is smaller in all, but worse."""
    last = lines(ranked(runs(tmp_path, parameters)))[-1]
    expected = "Simpler, and not told from the best: a with 300 parameters instead of 400."
    assert (last == expected) is simpler
    assert last.startswith("Simpler") is simpler


def test_few_patients_tell_nothing(tmp_path):
    folders = [
        crossval(tmp_path / name, [score(f"p{k}", BASE[k] + gain) for k in range(5)])
        for name, gain in (("a", 0), ("b", 0.2))
    ]
    _, second = ranked(folders)
    assert second.verdict == TOO_FEW
    assert lines(ranked(folders))[1].startswith(f"a: {TOO_FEW}; val Dice 0.600, difference -0.200")


def test_tasks_count_alike_however_many_patients_they_have(tmp_path):
    scores = [score(f"p{k}", 0.4) for k in range(6)] + [score("q", 0.8, "brain", c) for c in ("core", "oedema")]
    scores += [score("p0", 1.0, "brain", c) for c in ("core", "oedema")]
    values = patient_values(read_evaluated(crossval(tmp_path / "a", scores), DICE).values)
    assert len(values) == 7
    assert np.mean(list(values.values())) == pytest.approx((0.4 + 0.9) / 2)


def test_an_interval_is_that_of_patients_not_of_tasks(tmp_path):
    """All patients of a task alike: nothing is left to chance."""
    scores = [score(f"p{k}", 0.4) for k in range(6)] + [score(f"q{k}", 0.8, "brain", "core") for k in range(3)]
    candidate = read_candidate(crossval(tmp_path / "a", scores), "a", DICE)
    assert (candidate.score, *vars(candidate.interval).values()) == pytest.approx((0.6, 0.6, 0.6))


def test_the_command_writes_every_class_against_the_best(tmp_path, capsys):
    a, b, c = runs(tmp_path)
    output = tmp_path / "choice"
    assert run(["compare", f"runs=[{a},{b},{c}]", f"output={output}"]).code == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("Best: b, ")
    assert out[-1] == str(output / "comparison.html")
    with (output / "comparison.csv").open() as file:
        assert [(row["run"], row["against"]) for row in csv.DictReader(file)] == [("a", "b"), ("c", "b")]
    content = json.loads((output / "comparison.json").read_text())
    assert [each["run"] for each in content["ranking"]] == ["b", "a", "c"]
    assert [each["num_parameters"] for each in content["ranking"]] == [400, 500, 300]
    assert content["ranking"][0]["dice"] == pytest.approx(np.mean(BASE) + 0.055 / 8)
    assert "What cannot be told from the best may be as good" in (output / "comparison.html").read_text()


def test_a_report_of_several_takes_cross_validations_too(tmp_path):
    a, b, _ = runs(tmp_path)
    assert run(["report", f"runs=[{a},{b}]", f"output={tmp_path / 'out'}"]).code == 0
    content = json.loads((tmp_path / "out/comparison.json").read_text())
    assert (content["against"], list(content["runs"]), "ranking" in content) == ("a", ["b"], False)


def test_what_cannot_be_compared(tmp_path):
    a, b, c = runs(tmp_path)
    with pytest.raises(InputError, match=r"runs: found 1 runs; expected two or more"):
        ranked([a])
    other = crossval(tmp_path / "other", [score(f"p{k}", 0.5) for k in range(7)])
    with pytest.raises(InputError, match=r"found class 'liver' of 'liver' in patient 'p7' for a alone"):
        ranked([a, b, other])
    tested = crossval(tmp_path / "tested", [score("p0", 0.5)], split="test")
    with pytest.raises(InputError, match=r"tested: found scores of test cases; .*choose by val"):
        ranked([a, tested])
    CrossvalFolder(c).pooled.scores.unlink()
    with pytest.raises(InputError, match=r"c: found no pooled scores; expected a folder of uniseg\.crossval"):
        ranked([a, c])
