"""Which labels of a teacher are accepted, by hand."""

import numpy as np
import pytest

from samples import make_task
from uniseg.pseudo_labels.judge import Shape, ShapeRange, judge, measure_shape, ranges_of, without_labelled
from uniseg.pseudo_labels.settings import CompletionSettings

LIVER = make_task()
RANGES = {"liver": ShapeRange(0.05, 0.1, 1), "tumour": ShapeRange(0.0, 0.01, 2)}
ML = 0.001


def case():
    """A liver of 63 voxels around a tumour of one."""
    label = np.zeros((8, 8, 8), np.int16)
    label[:4, :4, :4] = 1
    label[1, 1, 1] = 2
    confidence = np.where(label > 0, 230, 0).astype(np.uint8)
    return label, confidence, np.zeros(label.shape, bool)


def judged(label, confidence, labelled, ranges=RANGES, **settings):
    return judge(label, confidence, labelled, LIVER, ML, ranges, CompletionSettings(**settings))


def test_a_likely_liver_is_accepted_with_what_was_measured():
    judgement = judged(*case())
    assert judgement.accepted
    liver = judgement.classes["liver"]
    assert liver == {
        "volume_ml": pytest.approx(0.063),
        "num_components": 1,
        "confidence": pytest.approx(230 / 255),
        "overlap": 0.0,
    }


def test_every_reason_to_refuse():
    label, confidence, labelled = case()
    assert judged(np.zeros_like(label), confidence, labelled).reasons == ("nothing found",)
    assert (
        "confidence 0.902, expected at least 0.95"
        in judged(label, confidence, labelled, least_confidence=0.95).reasons[0]
    )
    small = np.where(label == 1, 0, label)
    small[:3, :3, 0] = 1
    assert judged(small, confidence + 230, labelled, least_confidence=0).reasons == (
        "liver: 0.009 ml, expected 0.04 to 0.125",
    )
    scattered = label.copy()
    scattered[6, 6, 6] = 1
    assert judged(scattered, confidence, labelled, least_confidence=0).reasons == (
        "liver: 2 components, expected at most 1",
    )
    assert judged(scattered, confidence, labelled, least_confidence=0, most_components=2).accepted
    labelled[0, :4, :4] = True
    (reason,) = judged(label, confidence, labelled).reasons
    assert reason == "liver: 25% on labelled structures, expected at most 10%"
    assert judged(label, confidence, labelled, most_overlap=0.3).accepted


def test_without_ranges_shapes_are_not_judged():
    label, confidence, labelled = case()
    label[6, 6, 6] = 1
    assert judged(label, confidence, labelled, ranges={}, least_confidence=0).accepted


def test_specks_are_no_components():
    mask = np.zeros((10, 10, 10), bool)
    mask[:6, :6, :6] = True
    mask[9, 9, 9] = True
    assert measure_shape(mask, ML) == Shape(pytest.approx(0.217), 1)
    assert measure_shape(np.zeros_like(mask), ML) == Shape(0.0, 0)


def test_ranges_span_the_labelled_cases():
    shapes = [{"liver": Shape(10, 1)}, {"liver": Shape(30, 3)}, {"liver": Shape(20, 1)}]
    assert ranges_of(shapes) == {"liver": ShapeRange(10, 30, 3)}
    assert ranges_of([]) == {}


def test_real_labels_stay_as_they_are():
    label = np.array([[[1, 2, 0, 1]]])
    labelled = np.array([[[True, False, True, False]]])
    assert without_labelled(label, labelled, 3).tolist() == [[[3, 2, 0, 1]]]
