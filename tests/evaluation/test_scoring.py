"""Scores by hand, with the rules for empty classes."""

import math
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samples import make_task, save_nifti
from uniseg.datasets.case import Case
from uniseg.datasets.source import Source
from uniseg.errors import InputError
from uniseg.evaluation.baseline import majority_vote, resize_nearest
from uniseg.evaluation.scoring import Scorer, ScoringRules
from uniseg.metrics.base import Metric
from uniseg.metrics.lesions import LesionCounts
from uniseg.metrics.overlap import ClassCounts, count_classes
from uniseg.metrics.registry import packaged_metrics

OVERLAP = Scorer(ScoringRules(surfaces=False, lesions=False))
TASK = make_task(modalities=("T2",))
SOURCE = Source("nnunet", Path("set"))


def case(tmp_path, label, name="a"):
    path = save_nifti(tmp_path / f"{name}.nii.gz", np.asarray(label, np.uint8))
    return Case(name, f"set/{name}", (path,), path)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"tolerance_mm": -1.0}, "rules.tolerance_mm"),
        ({"tolerances_mm": {"liver": -1.0}}, "rules.tolerances_mm"),
        ({"lesion_overlap": 1.5}, "rules.lesion_overlap"),
    ],
)
def test_rules_out_of_bounds_are_refused(given, key):
    with pytest.raises(InputError, match=f"^{key}: found "):
        ScoringRules(**given)


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
    path, baseline = save_nifti(tmp_path / "p.nii.gz", predicted), np.ones((2, 2, 2), np.int16)
    liver, tumour = OVERLAP.score_case(TASK, SOURCE, case(tmp_path, reference), path, baseline)
    assert (liver.dice, liver.dice_nnunet, liver.baseline_dice) == (0.5, 0.5, pytest.approx(2 / 3))
    assert (liver.reference_ml, liver.prediction_ml) == pytest.approx((0.032, 0.032))
    assert tumour.dice == 1
    assert math.isnan(tumour.dice_nnunet)


def test_a_false_alarm_in_an_empty_case_scores_nothing(tmp_path):
    predicted = np.zeros((2, 2, 2), np.uint8)
    predicted[0, 0, 0] = 2
    tumour = OVERLAP.score_case(
        TASK, SOURCE, case(tmp_path, np.zeros((2, 2, 2))), save_nifti(tmp_path / "p.nii.gz", predicted)
    )[1]
    assert tumour.dice == tumour.dice_nnunet == 0


def test_the_reference_goes_through_the_label_map(tmp_path):
    reference = np.full((2, 2, 2), 7, np.uint8)
    predicted = save_nifti(tmp_path / "p.nii.gz", np.ones((2, 2, 2), np.uint8))
    assert (
        OVERLAP.score_case(TASK, replace(SOURCE, label_map={7: 1}), case(tmp_path, reference), predicted)[0].dice == 1
    )
    with pytest.raises(InputError, match=r"label values \[7\]"):
        OVERLAP.score_case(TASK, SOURCE, case(tmp_path, reference), predicted)


def test_ignored_voxels_count_nowhere(tmp_path):
    reference, predicted = np.full((2, 2, 2), 1, np.uint8), np.ones((2, 2, 2), np.uint8)
    reference[0] = 255
    predicted[0] = 2
    scores = OVERLAP.score_case(
        TASK, replace(SOURCE, ignore=255), case(tmp_path, reference), save_nifti(tmp_path / "p.nii.gz", predicted)
    )
    assert [s.dice for s in scores] == [1, 1]
    assert (scores[0].reference_ml, scores[1].prediction_ml) == pytest.approx((0.004, 0))


def test_a_scan_without_the_target_scores_against_nothing(tmp_path):
    image = save_nifti(tmp_path / "a.nii.gz", np.ones((2, 2, 2), np.uint8))
    predicted = save_nifti(tmp_path / "p.nii.gz", np.ones((2, 2, 2), np.uint8))
    liver, tumour = OVERLAP.score_case(TASK, SOURCE, Case("a", "set/a", (image,), None, absent=True), predicted)
    assert (liver.dice, liver.reference_ml, liver.prediction_ml, tumour.dice) == (0, 0, pytest.approx(0.008), 1)


@pytest.mark.parametrize(("value", "known"), [(3, r"\[0, 1, 2\]"), (255, r"\[0, 1, 2\]"), (-1, r"\[0, 1, 2\]")])
def test_a_foreign_value_in_a_prediction_is_refused_by_name(tmp_path, value, known):
    """It once counted as the last class: BraTS's 4 where the task says 3."""
    predicted = np.zeros((2, 2, 2), np.int16)
    predicted[0, 0, 0] = value
    path = save_nifti(tmp_path / "p.nii.gz", predicted)
    with pytest.raises(
        InputError,
        match=rf"p\.nii\.gz: found label values \[{value}\]; expected values {known} for background, liver, tumour",
    ):
        OVERLAP.score_case(TASK, SOURCE, case(tmp_path, np.full((2, 2, 2), 2)), path)


def test_a_value_of_no_region_is_foreign_too(tmp_path):
    nested = make_task("tumour", ("T2",), ("background", "whole", "core"), regions=((1, 2, 4), (4,)))
    scan = case(tmp_path, np.full((2, 2, 2), 4))
    good, odd = (save_nifti(tmp_path / f"p{value}.nii.gz", np.full((2, 2, 2), value, np.uint8)) for value in (4, 3))
    assert [score.dice for score in OVERLAP.score_case(nested, SOURCE, scan, good)] == [1, 1]
    with pytest.raises(InputError, match=r"label values \[3\]; expected values \[0, 1, 2, 4\]"):
        OVERLAP.score_case(nested, SOURCE, scan, odd)


def test_values_of_the_files_go_through_the_label_map(tmp_path):
    """As of a tool that was trained on the label files; the map swaps two values, so that only saying so tells which
    are meant.
    """
    source = replace(SOURCE, label_map={1: 2, 2: 1, 7: 0}, ignore=9)
    scan = case(tmp_path, [[[1, 1, 2, 7, 9]]])
    prediction = save_nifti(tmp_path / "p.nii.gz", np.array([[[1, 1, 2, 7, 0]]], np.uint8))
    assert [score.dice for score in OVERLAP.score_case(TASK, source, scan, prediction, values="file")] == [1, 1]
    with pytest.raises(InputError, match=r"label values \[7\]"):
        OVERLAP.score_case(TASK, source, scan, prediction)
    with pytest.raises(InputError, match=r"label values \[9\]"):
        OVERLAP.score_case(TASK, source, scan, scan.label_path, values="file")


def test_the_baseline_is_the_majority(tmp_path):
    labels = [np.zeros((4, 4, 4)), np.zeros((6, 4, 8)), np.zeros((4, 4, 4))]
    for label in labels[:2]:
        label[: len(label) // 2] = 2
    votes = majority_vote(TASK, SOURCE, [case(tmp_path, label, str(i)) for i, label in enumerate(labels)])
    assert (votes[:24] == 2).all()
    assert (votes[24:] == 0).all()
    assert resize_nearest(votes, (2, 3, 3)).tolist() == [[[2] * 3] * 3, [[0] * 3] * 3]


def test_shapes_by_hand(tmp_path):
    """A liver of one slice, predicted one slice off; a tumour in two places, one of them found; spacing 1 mm."""
    reference, predicted = np.zeros((2, 5, 6, 6), np.uint8)
    reference[1], predicted[2] = 1, 1
    reference[4, 0, 0] = reference[4, 4, 4] = predicted[4, 4, 4] = 2
    path = save_nifti(tmp_path / "p.nii.gz", predicted)
    strict = Scorer(ScoringRules(tolerance_mm=0.5, tolerances_mm={"other": 9.0}))
    liver, tumour = strict.score_case(TASK, SOURCE, case(tmp_path, reference), path)
    assert (liver.dice, liver.metrics) == (0, {"iou": 0, "nsd": 0, "hd95_mm": 1, "assd_mm": 1})
    assert liver.complete_miss
    assert tumour.lesions == LesionCounts(found=1, missed=1, false=0)
    assert (tumour.dice, tumour.value("iou")) == (pytest.approx(2 / 3), pytest.approx(0.5))
    assert tumour.volume_difference_ml == pytest.approx(-0.001)
    lenient = Scorer(ScoringRules(tolerances_mm={TASK.name: 1.0}, lesions=False))
    near = lenient.score_case(TASK, SOURCE, case(tmp_path, reference), path)[0]
    assert near.value("nsd") == 1
    assert near.lesions is None
    assert math.isnan(OVERLAP.score_case(TASK, SOURCE, case(tmp_path, reference), path)[0].value("nsd"))


def test_the_masks_of_one_class_at_a_time_are_in_memory(tmp_path):
    alive = []

    @dataclass(frozen=True, kw_only=True)
    class NumAlive(Metric):
        def compute(self, pair):
            assert pair.masks
            alive.append(weakref.ref(pair))
            return sum(each() is not None for each in alive)

    metrics = packaged_metrics() | {"alive": NumAlive(name="alive", title="", unit="", higher_is_better=False)}
    path = save_nifti(tmp_path / "p.nii.gz", np.ones((2, 2, 2), np.uint8))
    scores = Scorer(metrics=metrics).score_case(TASK, SOURCE, case(tmp_path, np.ones((2, 2, 2))), path)
    assert [score.value("alive") for score in scores] == [1, 1]


def test_a_miss_costs_the_diagonal(tmp_path):
    reference = np.zeros((3, 4, 12), np.uint8)
    reference[0, 0, 0] = 1
    path = save_nifti(tmp_path / "p.nii.gz", np.zeros_like(reference))
    liver, tumour = Scorer().score_case(TASK, SOURCE, case(tmp_path, reference), path)
    assert [liver.value(name) for name in ("nsd", "hd95_mm", "assd_mm")] == [0, 13, 13]
    assert tumour.value("nsd") == 1
    assert math.isnan(tumour.value("hd95_mm"))
