"""Means by hand; records that come back as they were written; files of older versions."""

import contextlib
import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from uniseg.errors import InputError
from uniseg.evaluation.records import Score, Summary, TaskData, read_scores, write_scores
from uniseg.evaluation.scoring import ScoringRules
from uniseg.evaluation.summary import summarise, summarise_class
from uniseg.metrics.lesions import LesionCounts

HEAD = "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml"
SHAPES = ("iou", "nsd", "hd95_mm", "assd_mm")


def score(task, case_id, name, dice, nnunet=None, baseline=0.1):
    values = dict.fromkeys(SHAPES, math.nan)
    return Score(task, case_id, case_id, name, dice, dice if nnunet is None else nnunet, baseline, 1.0, 1.0, values)


SCORES = [
    score("a", "1", "x", 1.0),
    score("a", "2", "x", 0.5),
    score("a", "1", "y", 0.25),
    score("a", "2", "y", 0.25),
    score("b", "3", "z", 1.0, math.nan),
]


def test_means_go_over_cases_then_classes_then_tasks(tmp_path):
    summary = summarise(SCORES)
    assert {name: each.dice for name, each in summary.tasks["a"].classes.items()} == {"x": 0.75, "y": 0.25}
    assert summary.tasks["a"].dice == 0.5
    assert (summary.mean_dice, summary.mean_dice_nnunet) == (0.75, 0.5)
    assert summary.baseline_mean_dice == pytest.approx(0.1)
    assert math.isnan(summary.tasks["b"].dice_nnunet)


def test_scores_keep_their_columns(tmp_path):
    path = tmp_path / "scores.csv"
    write_scores(SCORES, path)
    lines = path.read_text().splitlines()
    assert lines[0] == f"{HEAD},{','.join(SHAPES)},lesions_found,lesions_missed,lesions_false"
    assert lines[-1] == "b,3,3,z,1.0,,0.1,1.0,1.0" + 7 * ","
    full = replace(SCORES[0], metrics={"iou": 0.5, "new": 2.0}, lesions=LesionCounts(1, 2, 0))
    write_scores([full], path)
    assert read_scores(path) == [full]
    path.write_text(f"{HEAD}\na,b,c,d,0.5,0.5,,1,2\n")
    assert math.isnan(read_scores(path)[0].value("nsd")), "older files have fewer columns"


def test_a_summary_comes_back_with_the_keys_of_its_file(tmp_path):
    data = {"a": TaskData(("CT",), (2.0, 1.0, 1.0), {"train": 3, "val": 1, "test": 2}, "CC0")}
    settings = {"rules": vars(ScoringRules()), "stages_s": {"read": 0.5}}
    known = [replace(score, dice_nnunet=0.5, metrics={"nsd": 0.5}, lesions=LesionCounts(1, 0, 1)) for score in SCORES]
    known.append(replace(known[0], case_id="4", reference_ml=0.0))
    known += [replace(score, case_id="5", reference_ml=0.0) for score in known[2:5:2]]
    summary, path = (
        summarise(known, data, split="val", checkpoint="ab", postprocessed=False, **settings),
        tmp_path / "m",
    )
    summary.write(path)
    assert Summary.read(path) == summary
    content = json.loads(path.read_text())
    assert list(content) == [
        *("mean_dice", "mean_dice_nnunet", "blind_mean_dice", "tasks", "split", "checkpoint", "postprocessed"),
        *("rules", "stages_s"),
    ]
    assert content["tasks"]["a"]["blind_classes"] == pytest.approx({"x": 0.1, "y": 0.1})
    assert content["tasks"]["a"]["details"]["x"]["nsd"] == 0.5
    content["split"] = "dev"
    content["tasks"]["a"]["cases_per_side"] = {"train": 3, "dev": 1, "test": 2}
    del content["tasks"]["a"]["cases_per_split"], content["tasks"]["b"]["details"]
    path.write_text(json.dumps(content))
    old = Summary.read(path)
    assert (old.split, old.tasks["a"].data) == ("val", data["a"])
    assert (old.tasks["b"].dice, old.tasks["b"].classes["z"].metrics) == (summary.tasks["b"].dice, {})


NAMES = ("=1+1", "+a", "-b", "@c", "'d", "'=e", "plain", "a,b", 'a"b', "''", "'", "Ärzte")


def test_no_cell_is_a_formula_and_names_come_back(tmp_path):
    scores = [score(name, name, name, 0.5) for name in NAMES]
    path = tmp_path / "scores.csv"
    write_scores(scores, path)
    with path.open(newline="", encoding="utf-8") as file:
        cells = [cell for row in list(csv.reader(file))[1:] for cell in row[:4]]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r"]
    assert [(each.task, each.case_id, each.patient_id, each.class_name) for each in read_scores(path)] == [
        (name,) * 4 for name in NAMES
    ]


@pytest.mark.parametrize(
    "text",
    [
        "", f"{HEAD}\n", "\0", "a\nb\nc", "[]", "\xff\xfe",
        f"{HEAD}\na,b,c,d,0.5,0.5,,1\n",
        f"{HEAD}\na,b,c,d,0.5,0.5,,1,2,3\n",
        f"{HEAD}\na,b,c,d,inf,0.5,,1,2\n",
        f"{HEAD},more\na,b,c,d,0.5,0.5,,1,2,x\n",
        f'{HEAD}\na,"b,c,d,0.5,0.5,,1,2\n',
    ],
)  # fmt: skip
def test_a_score_file_of_something_else_is_one_line(tmp_path, text):
    path = tmp_path / "scores.csv"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(InputError, match=r"scores\.csv: found .*; expected scores\.csv of uniseg\.evaluate"):
        read_scores(path)


@pytest.mark.parametrize("seed", range(20))
def test_a_mutated_score_file_is_read_or_one_line(tmp_path, seed):
    rng, path = np.random.default_rng(seed), tmp_path / "scores.csv"
    write_scores([score("liver", name, name, 0.5) for name in "abcdef"], path)
    content = bytearray(path.read_bytes())
    for place in rng.integers(len(content), size=1 + seed % 7):
        content[place] = int(rng.integers(256)) if seed % 2 else b',"\n\r\0;'[int(rng.integers(6))]
    path.write_bytes(content[: rng.integers(len(content))] if seed % 5 == 0 else content)
    with contextlib.suppress(InputError):
        summarise(read_scores(path))


def test_details_of_a_class():
    """Two patients, one with two cases; one case without the class in which 3 ml were made up."""

    def case(case_id, patient, dice, volumes, hd95_mm, lesions):
        metrics = {"hd95_mm": hd95_mm}
        return Score("a", case_id, patient, "x", dice, dice, 0.1, *volumes, metrics, LesionCounts(*lesions))

    details = summarise_class(
        [
            case("1", "p", 1.0, (2.0, 2.0), 0.0, (2, 0, 0)),
            case("2", "p", 0.0, (4.0, 0.0), 10.0, (0, 1, 0)),
            case("3", "q", 0.0, (0.0, 3.0), 10.0, (0, 0, 4)),
        ]
    )
    assert details.dice_interval == (0.0, 1.0), "Student's of two patients, cut to what a Dice can be"
    assert np.isnan(summarise_class([score("a", "1", "p", 0.5)]).dice_interval).all()
    assert (details.complete_misses, details.cases_without, details.false_positive_ml) == (1, 1, 3.0)
    assert (details.lesion_sensitivity, details.lesion_f1) == (2 / 3, pytest.approx(4 / 9))
    assert details.false_lesions_per_case == pytest.approx(4 / 3)
    assert details.metrics["hd95_mm"] == pytest.approx(20 / 3)
    assert details.volume_difference_ml == pytest.approx(-1 / 3)
