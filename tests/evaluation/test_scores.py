"""Means by hand; a file that comes back as it was written."""

import contextlib
import csv
import json
import math

import numpy as np
import pytest

from uniseg.errors import InputError
from uniseg.evaluation.scores import Score, class_details, read_scores, summarise, write_scores, write_summary


def score(task, case_id, name, dice, nnunet=None, blind=0.1):
    return Score(task, case_id, case_id, name, dice, dice if nnunet is None else nnunet, blind, 1.0, 1.0)


def test_means_go_over_cases_then_classes_then_tasks(tmp_path):
    scores = [
        score("a", "1", "x", 1.0),
        score("a", "2", "x", 0.5),
        score("a", "1", "y", 0.25),
        score("a", "2", "y", 0.25),
        score("b", "3", "z", 1.0, math.nan),
    ]
    summary = summarise(scores)
    assert summary["tasks"]["a"]["classes"] == {"x": 0.75, "y": 0.25}
    assert summary["tasks"]["a"]["dice"] == 0.5
    assert summary["mean_dice"] == 0.75
    assert summary["mean_dice_nnunet"] == 0.5
    assert summary["blind_mean_dice"] == pytest.approx(0.1)
    write_summary(summary, tmp_path / "metrics.json")
    assert json.loads((tmp_path / "metrics.json").read_text())["tasks"]["b"]["dice_nnunet"] is None
    write_scores(scores, tmp_path / "scores.csv")
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    plain, shapes = (
        "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml",
        "iou,nsd,hd95_mm,assd_mm",
    )
    assert lines[0] == f"{plain},{shapes},lesions_found,lesions_missed,lesions_false"
    assert lines[-1] == "b,3,3,z,1.0,,0.1,1.0,1.0" + 7 * ","


NAMES = ("=1+1", "+a", "-b", "@c", "'d", "'=e", "plain", "a,b", 'a"b', "''", "'", "Ärzte")


def test_no_cell_is_a_formula_and_names_come_back(tmp_path):
    scores = [score(name, name, name, 0.5) for name in NAMES]
    path = tmp_path / "scores.csv"
    write_scores(scores, path)
    with path.open(newline="", encoding="utf-8") as file:
        cells = [cell for row in list(csv.reader(file))[1:] for cell in row[:4]]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r"]
    assert [(own.task, own.case_id, own.patient_id, own.class_name) for own in read_scores(path)] == [
        (name,) * 4 for name in NAMES
    ]


@pytest.mark.parametrize(
    "text",
    [
        "", "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml\n", "\0", "a\nb\nc",
        "[]", "\xff\xfe",
        "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml\na,b,c,d,0.5,0.5,,1\n",
        "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml\na,b,c,d,0.5,0.5,,1,2,3\n",
        "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml\na,b,c,d,inf,0.5,,1,2\n",
        "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml,more\na,b,c,d,0.5,0.5,,1,2,3\n",
        'task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml\na,"b,c,d,0.5,0.5,,1,2\n',
    ],
)  # fmt: skip
def test_a_score_file_of_something_else_is_one_line(tmp_path, text):
    path = tmp_path / "scores.csv"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(InputError, match=r"scores\.csv: found .*; expected scores\.csv of uniseg\.evaluate"):
        read_scores(path)


@pytest.mark.parametrize("seed", range(60))
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
    scores = [
        Score(
            "a",
            "1",
            "p",
            "x",
            1.0,
            1.0,
            0.1,
            2.0,
            2.0,
            iou=1.0,
            nsd=1.0,
            hd95_mm=0.0,
            assd_mm=0.0,
            lesions_found=2,
            lesions_missed=0,
            lesions_false=0,
        ),
        Score(
            "a",
            "2",
            "p",
            "x",
            0.0,
            0.0,
            0.1,
            4.0,
            0.0,
            iou=0.0,
            nsd=0.0,
            hd95_mm=10.0,
            assd_mm=10.0,
            lesions_found=0,
            lesions_missed=1,
            lesions_false=0,
        ),
        Score(
            "a",
            "3",
            "q",
            "x",
            0.0,
            0.0,
            0.1,
            0.0,
            3.0,
            iou=0.0,
            nsd=0.0,
            hd95_mm=10.0,
            assd_mm=10.0,
            lesions_found=0,
            lesions_missed=0,
            lesions_false=4,
        ),
    ]
    details = class_details(scores)
    assert details["dice_interval"] == [0.0, 0.5]
    assert (details["complete_misses"], details["cases_without"], details["false_positive_ml"]) == (1, 1, 3.0)
    assert (details["lesion_sensitivity"], details["lesion_f1"], details["false_lesions_per_case"]) == (
        2 / 3,
        pytest.approx(4 / 9),
        pytest.approx(4 / 3),
    )
    assert details["hd95_mm"] == pytest.approx(20 / 3)
    assert details["volume_difference_ml"] == pytest.approx(-1 / 3)
