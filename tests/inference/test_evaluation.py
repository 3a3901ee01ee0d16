"""Scores by hand, with the rules for empty classes."""

import contextlib
import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samples import make_task, save_nifti
from uniseg.errors import InputError
from uniseg.inference.evaluation import (
    Rules,
    Score,
    blind_map,
    class_details,
    read_scores,
    score_case,
    stretch,
    summarise,
    write_scores,
    write_summary,
)
from uniseg.metrics.overlap import ClassCounts, count_classes
from uniseg.scans.case import Case
from uniseg.scans.source import Source

TASK = make_task(modalities=("T2",))
SOURCE = Source("nnunet", Path("set"))


def case(tmp_path, label, name="a"):
    path = save_nifti(tmp_path / f"{name}.nii.gz", np.asarray(label, np.uint8))
    return Case(name, f"set/{name}", (path,), path)


def test_counts_by_hand():
    counts = count_classes(torch.tensor([0, 1, 1, 2, 2, 0]), torch.tensor([0, 1, 2, 2, 0, -1]), TASK.membership)
    assert counts.values.tolist() == [[1, 1], [1, 1], [0, 1]]
    assert counts.dice().tolist() == [2 / 3, 0.5]
    assert (counts + counts).dice().tolist() == counts.dice().tolist()
    assert ClassCounts.zero(3).dice().isnan().all()


def test_regions_count_every_value_they_hold():
    nested = make_task("tumour", classes=("background", "whole", "core"), regions=((1, 2), (2,)))
    counts = count_classes(torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([1, 2, 2, 1, 0, 0]), nested.membership)
    assert counts.values.tolist() == [[3, 1], [1, 1], [1, 1]]


def test_a_case_by_hand(tmp_path):
    reference = np.zeros((4, 4, 4), np.uint8)
    reference[:2] = 1
    predicted = np.zeros_like(reference)
    predicted[1:3] = 1
    scores = score_case(TASK, SOURCE, case(tmp_path, reference), save_nifti(tmp_path / "p.nii.gz", predicted), blind=np.ones((2, 2, 2), np.int16))
    liver, tumour = scores
    assert (liver.dice, liver.dice_nnunet, liver.blind_dice) == (0.5, 0.5, pytest.approx(2 / 3))
    assert (liver.reference_ml, liver.prediction_ml) == pytest.approx((0.032, 0.032))
    assert tumour.dice == 1
    assert math.isnan(tumour.dice_nnunet)


def test_a_false_alarm_in_an_empty_case_scores_nothing(tmp_path):
    predicted = np.zeros((2, 2, 2), np.uint8)
    predicted[0, 0, 0] = 2
    tumour = score_case(TASK, SOURCE, case(tmp_path, np.zeros((2, 2, 2))), save_nifti(tmp_path / "p.nii.gz", predicted), None)[1]
    assert tumour.dice == tumour.dice_nnunet == 0


def test_the_reference_goes_through_the_label_map(tmp_path):
    reference = np.full((2, 2, 2), 7, np.uint8)
    predicted = save_nifti(tmp_path / "p.nii.gz", np.ones((2, 2, 2), np.uint8))
    assert score_case(TASK, replace(SOURCE, label_map={7: 1}), case(tmp_path, reference), predicted, None)[0].dice == 1
    with pytest.raises(InputError, match=r"label values \[7\]"):
        score_case(TASK, SOURCE, case(tmp_path, reference), predicted, None)


def test_ignored_voxels_count_nowhere(tmp_path):
    reference, predicted = np.full((2, 2, 2), 1, np.uint8), np.ones((2, 2, 2), np.uint8)
    reference[0] = 255
    predicted[0] = 2
    scores = score_case(TASK, replace(SOURCE, ignore=255), case(tmp_path, reference), save_nifti(tmp_path / "p.nii.gz", predicted), None)
    assert [s.dice for s in scores] == [1, 1]
    assert (scores[0].reference_ml, scores[1].prediction_ml) == pytest.approx((0.004, 0))


def test_a_scan_without_the_target_scores_against_nothing(tmp_path):
    image = save_nifti(tmp_path / "a.nii.gz", np.ones((2, 2, 2), np.uint8))
    predicted = save_nifti(tmp_path / "p.nii.gz", np.ones((2, 2, 2), np.uint8))
    liver, tumour = score_case(TASK, SOURCE, Case("a", "set/a", (image,), None, absent=True), predicted, None)
    assert (liver.dice, liver.reference_ml, liver.prediction_ml, tumour.dice) == (0, 0, pytest.approx(0.008), 1)


@pytest.mark.parametrize(("value", "known"), [(3, r"\[0, 1, 2\]"), (255, r"\[0, 1, 2\]"), (-1, r"\[0, 1, 2\]")])
def test_a_foreign_value_in_a_prediction_is_refused_by_name(tmp_path, value, known):
    """It once counted as the last class: BraTS's 4 where the task says 3."""
    predicted = np.zeros((2, 2, 2), np.int16)
    predicted[0, 0, 0] = value
    path = save_nifti(tmp_path / "p.nii.gz", predicted)
    with pytest.raises(InputError, match=rf"p\.nii\.gz: found label values \[{value}\]; expected values {known} for background, liver, tumour"):
        score_case(TASK, SOURCE, case(tmp_path, np.full((2, 2, 2), 2)), path, None)


def test_a_value_of_no_region_is_foreign_too(tmp_path):
    nested = make_task("tumour", ("T2",), ("background", "whole", "core"), regions=((1, 2, 4), (4,)))
    own = case(tmp_path, np.full((2, 2, 2), 4))
    good, odd = (save_nifti(tmp_path / f"p{value}.nii.gz", np.full((2, 2, 2), value, np.uint8)) for value in (4, 3))
    assert [score.dice for score in score_case(nested, SOURCE, own, good, None)] == [1, 1]
    with pytest.raises(InputError, match=r"label values \[3\]; expected values \[0, 1, 2, 4\]"):
        score_case(nested, SOURCE, own, odd, None)


def test_values_of_the_files_go_through_the_label_map(tmp_path):
    """As of a tool that was trained on the label files; the map swaps two values, so that only saying so tells which are meant."""
    source = replace(SOURCE, label_map={1: 2, 2: 1, 7: 0}, ignore=9)
    own = case(tmp_path, [[[1, 1, 2, 7, 9]]])
    prediction = save_nifti(tmp_path / "p.nii.gz", np.array([[[1, 1, 2, 7, 0]]], np.uint8))
    assert [score.dice for score in score_case(TASK, source, own, prediction, None, None, "file")] == [1, 1]
    with pytest.raises(InputError, match=r"label values \[7\]"):
        score_case(TASK, source, own, prediction, None)
    with pytest.raises(InputError, match=r"label values \[9\]"):
        score_case(TASK, source, own, own.label_path, None, None, "file")


def test_the_blind_map_is_the_majority(tmp_path):
    labels = [np.zeros((4, 4, 4)), np.zeros((6, 4, 8)), np.zeros((4, 4, 4))]
    for label in labels[:2]:
        label[: len(label) // 2] = 2
    blind = blind_map(TASK, SOURCE, [case(tmp_path, label, str(i)) for i, label in enumerate(labels)])
    assert (blind[:24] == 2).all()
    assert (blind[24:] == 0).all()
    assert stretch(blind, (2, 3, 3)).tolist() == [[[2] * 3] * 3, [[0] * 3] * 3]


def score(task, case_id, name, dice, nnunet=None, blind=0.1):
    return Score(task, case_id, case_id, name, dice, dice if nnunet is None else nnunet, blind, 1.0, 1.0)


def test_means_go_over_cases_then_classes_then_tasks(tmp_path):
    scores = [score("a", "1", "x", 1.0), score("a", "2", "x", 0.5), score("a", "1", "y", 0.25), score("a", "2", "y", 0.25), score("b", "3", "z", 1.0, math.nan)]
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
    plain, shapes = "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml", "iou,nsd,hd95_mm,assd_mm"
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
    assert [(own.task, own.case_id, own.patient_id, own.class_name) for own in read_scores(path)] == [(name,) * 4 for name in NAMES]


@pytest.mark.parametrize(
    "text",
    [
        "", "task,case_id,patient_id,class,dice,dice_nnunet,blind_dice,reference_ml,prediction_ml\n", "\0", "a\nb\nc", "[]", "\xff\xfe",
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


def test_shapes_by_hand(tmp_path):
    """A liver of one slice, predicted one slice off; a tumour in two places, one of them found; spacing 1 mm."""
    reference, predicted = np.zeros((2, 5, 6, 6), np.uint8)
    reference[1], predicted[2] = 1, 1
    reference[4, 0, 0] = reference[4, 4, 4] = predicted[4, 4, 4] = 2
    path = save_nifti(tmp_path / "p.nii.gz", predicted)
    liver, tumour = score_case(TASK, SOURCE, case(tmp_path, reference), path, None, Rules(tolerance_mm=0.5, tolerances_mm={"other": 9.0}))
    assert (liver.nsd, liver.hd95_mm, liver.assd_mm, liver.dice, liver.iou) == (0, 1, 1, 0, 0)
    assert liver.complete_miss
    assert (tumour.lesions_found, tumour.lesions_missed, tumour.lesions_false) == (1, 1, 0)
    assert (tumour.dice, tumour.iou) == (pytest.approx(2 / 3), pytest.approx(0.5))
    assert tumour.volume_difference_ml == pytest.approx(-0.001)
    near = score_case(TASK, SOURCE, case(tmp_path, reference), path, None, Rules(tolerances_mm={TASK.name: 1.0}, lesions=False))[0]
    assert near.nsd == 1
    assert math.isnan(near.lesions_found)


def test_a_miss_costs_the_diagonal(tmp_path):
    reference = np.zeros((3, 4, 12), np.uint8)
    reference[0, 0, 0] = 1
    path = save_nifti(tmp_path / "p.nii.gz", np.zeros_like(reference))
    liver, tumour = score_case(TASK, SOURCE, case(tmp_path, reference), path, None, Rules())
    assert (liver.nsd, liver.hd95_mm, liver.assd_mm) == (0, 13, 13)
    assert tumour.nsd == 1
    assert math.isnan(tumour.hd95_mm)


def test_details_of_a_class():
    """Two patients, one with two cases; one case without the class in which 3 ml were made up."""
    scores = [
        Score("a", "1", "p", "x", 1.0, 1.0, 0.1, 2.0, 2.0, iou=1.0, nsd=1.0, hd95_mm=0.0, assd_mm=0.0, lesions_found=2, lesions_missed=0, lesions_false=0),
        Score("a", "2", "p", "x", 0.0, 0.0, 0.1, 4.0, 0.0, iou=0.0, nsd=0.0, hd95_mm=10.0, assd_mm=10.0, lesions_found=0, lesions_missed=1, lesions_false=0),
        Score("a", "3", "q", "x", 0.0, 0.0, 0.1, 0.0, 3.0, iou=0.0, nsd=0.0, hd95_mm=10.0, assd_mm=10.0, lesions_found=0, lesions_missed=0, lesions_false=4),
    ]
    details = class_details(scores)
    assert details["dice_interval"] == [0.0, 0.5]
    assert (details["complete_misses"], details["cases_without"], details["false_positive_ml"]) == (1, 1, 3.0)
    assert (details["lesion_sensitivity"], details["lesion_f1"], details["false_lesions_per_case"]) == (2 / 3, pytest.approx(4 / 9), pytest.approx(4 / 3))
    assert details["hd95_mm"] == pytest.approx(20 / 3)
    assert details["volume_difference_ml"] == pytest.approx(-1 / 3)
