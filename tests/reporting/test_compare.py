"""Runs against each other, by hand."""

import csv
import json

import pytest

from uniseg.errors import InputError
from uniseg.metrics.registry import packaged_metrics
from uniseg.reporting.compare import BETTER, FEW, MIXED, NOISE, differences, read_evaluated
from uniseg.reporting.compare_files import names_of, write_comparison

METRICS = packaged_metrics()
HEAD = "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml,hd95_mm"


def write(folder, *rows):
    folder.mkdir(parents=True)
    (folder / "scores.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    return folder


def row(task, patient, dice, hd95="", case=None):
    return f"{task},{case or patient},{patient},organ,{dice},{dice},0.1,5.0,5.0,{hd95}"


@pytest.fixture
def pair(tmp_path):
    """Ten patients of a task on which b is better by 0.1, ten on which it is not, three of another; patient p0 has two
    cases.
    """
    noise = [0.02, -0.02, 0.01, -0.01, 0.03, -0.03, 0.015, -0.015, 0.005, -0.005]
    a = [row("liver", f"p{i}", 0.5 + i / 100, 20 + i) for i in range(10)] + [
        row("lung", f"p{i}", 0.5) for i in range(10)
    ]
    b = [row("liver", f"p{i}", 0.6 + i / 90, 10 + i) for i in range(10)] + [
        row("lung", f"p{i}", 0.5 + noise[i]) for i in range(10)
    ]
    few = [row("spleen", f"q{i}", 0.0) for i in range(3)]
    return (
        write(tmp_path / "a" / "evaluation", *a, row("liver", "p0", 0.7, 20, "again"), *few).parent,
        write(
            tmp_path / "b",
            *b,
            row("liver", "p0", 0.8, 10, "again"),
            *(line.replace(",0.0,0.0,", ",0.9,0.9,") for line in few),
        ),
    )


def test_differences_by_hand(pair):
    a, b = (read_evaluated(folder, METRICS["dice"]) for folder in pair)
    assert a.values["liver", "organ"]["p0"] == pytest.approx(0.6)
    liver, lung, spleen = differences(b, a, metric=METRICS["dice"], margin=0.02)
    assert [each.task for each in (liver, lung, spleen)] == ["liver", "lung", "spleen"]
    expected = (0.1 + sum(0.1 + i / 90 - i / 100 for i in range(1, 10))) / 10
    assert liver.comparison.difference == pytest.approx(expected)
    assert (liver.verdict, liver.comparison.p, liver.p_holm) == (
        BETTER,
        pytest.approx(2 / 2**10),
        pytest.approx(4 / 2**10),
    )
    assert (lung.verdict, lung.non_inferior) == (NOISE, None)
    assert [(lost.patient_id, lost.missed) for lost in lung.lost] == [("p5", False)]
    assert lung.lost[0].text == "p5 -0.030"
    assert (spleen.verdict, spleen.comparison.difference, spleen.non_inferior) == (FEW, pytest.approx(0.9), None)
    assert (spleen.misses, spleen.first_misses, spleen.lost) == (0, 3, ())
    back = differences(a, b, metric=METRICS["dice"], margin=0.02)[2]
    assert [lost.text for lost in back.lost] == [f"q{k} -0.900, missed whole" for k in range(3)]


def test_twenty_patients_can_be_not_inferior(tmp_path):
    """One of twenty-one is missed whole by the run, another by both: the one is listed, and decides."""
    dice = [0.5 + k / 100 for k in range(20)]
    a = [row("liver", f"p{k:02}", d) for k, d in enumerate(dice)] + [row("liver", "both", 0.0)]
    b = [row("liver", f"p{k:02}", d + (-1) ** k / 100) for k, d in enumerate(dice)] + [row("liver", "both", 0.0)]
    folders = [
        write(tmp_path / name, *rows)
        for name, rows in (("a", a), ("b", b), ("c", [row("liver", "p07", 0), *b[:7], *b[8:]]))
    ]
    first, same, missing = (read_evaluated(folder, METRICS["dice"]) for folder in folders)
    (found,) = differences(same, first, metric=METRICS["dice"], margin=0.02)
    assert (found.non_inferior, found.lost, found.misses) == (True, (), 1)
    (found,) = differences(missing, first, metric=METRICS["dice"], margin=0.02)
    assert (found.non_inferior, found.misses, found.first_misses) == (False, 2, 1)
    assert [lost.text for lost in found.lost] == ["p07 -0.570, missed whole"]
    assert found.comparison.shift == pytest.approx(0, abs=0.01)


def test_better_for_most_and_worse_in_the_mean_is_mixed(tmp_path):
    dice = [0.7 + k / 100 for k in range(20)]
    a = [row("liver", f"p{k:02}", d) for k, d in enumerate(dice)]
    b = [row("liver", f"p{k:02}", 0 if k == 3 else d + 0.01 + k / 2000) for k, d in enumerate(dice)]
    first, run = (read_evaluated(write(tmp_path / n, *rows), METRICS["dice"]) for n, rows in (("a", a), ("b", b)))
    (found,) = differences(run, first, metric=METRICS["dice"], margin=0.02)
    assert found.p_holm < 0.01
    assert found.comparison.difference < 0 < found.comparison.shift
    assert (found.verdict, found.non_inferior) == (MIXED, False)


def test_of_distances_the_smaller_is_better(pair):
    a, b = (read_evaluated(folder, METRICS["hd95_mm"]) for folder in pair)
    (liver,) = differences(b, a, metric=METRICS["hd95_mm"], margin=1.0)
    assert (liver.verdict, liver.comparison.difference, liver.mean, liver.first_mean) == (
        BETTER,
        pytest.approx(10),
        pytest.approx(14.5),
        pytest.approx(24.5),
    )


def test_files_say_the_same(pair, tmp_path):
    page = write_comparison(list(pair), tmp_path / "out", metric=METRICS["dice"], margin=0.02).read_text()
    assert '<td class="better">better</td>' in page
    assert "+0.900" in page
    with (tmp_path / "out/comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["run"], r["against"], r["task"], r["verdict"]) for r in rows] == [
        ("b", "a", t, v) for t, v in (("liver", BETTER), ("lung", NOISE), ("spleen", FEW))
    ]
    content = json.loads((tmp_path / "out/comparison.json").read_text())
    assert content["runs"]["b"][0]["comparison"]["wins"] == 10
    assert content["runs"]["b"][2]["other_misses"] == 3
    assert content["runs"]["b"][1]["lost"] == [
        {"patient_id": "p5", "difference": pytest.approx(-0.03), "missed": False}
    ]
    assert rows[1]["lost"] == "p5 -0.030"
    assert float(rows[1]["hodges_lehmann"]) == pytest.approx(content["runs"]["b"][1]["comparison"]["shift"], abs=1e-4)
    assert page.count("<td>cannot be told</td>") == 3
    assert "p5 -0.030" in page


def test_bad_input_is_reported(pair, tmp_path):
    with pytest.raises(InputError, match="two or more"):
        write_comparison([pair[0]], tmp_path / "out", metric=METRICS["dice"], margin=0)
    with pytest.raises(InputError, match="no nsd"):
        write_comparison(list(pair), tmp_path / "out", metric=METRICS["nsd"], margin=0)
    with pytest.raises(InputError, match="No such file"):
        write_comparison([pair[0], tmp_path / "none"], tmp_path / "out", metric=METRICS["dice"], margin=0)
    with pytest.raises(InputError, match="no class and patient"):
        write_comparison(
            [pair[0], write(tmp_path / "c", row("heart", "z", 0.5))], tmp_path / "out", metric=METRICS["dice"], margin=0
        )
    with pytest.raises(InputError, match="twice"):
        names_of([pair[0], pair[0]])
    assert not (tmp_path / "out").exists()


def test_runs_are_named_by_what_tells_them_apart(tmp_path):
    assert names_of([tmp_path / "a/seed0", tmp_path / "b/seed0"]) == ["a/seed0", "b/seed0"]
