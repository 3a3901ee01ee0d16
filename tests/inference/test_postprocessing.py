"""Components taken away, by hand; which are, by val cases."""

import json

import numpy as np
import pytest
import torch

from samples import make_task
from uniseg import InputError
from uniseg.inference.postprocessing import (
    ALL_CLASSES,
    CANDIDATES,
    Choice,
    ClassPostprocessing,
    choose,
    postprocess,
    read_postprocessing,
    write_postprocessing,
)
from uniseg.metrics.overlap import count_classes

LIVER = make_task()  # liver 1, tumour 2
NESTED = make_task("brain", ("T1",), ("background", "whole", "core"), regions=((1, 2), (2,)))
ML = 0.001  # of a voxel
Rule = ClassPostprocessing


def two_parts():
    """A liver of 27 and of 2 voxels, the smaller touching a corner of nothing; a tumour of 1 and of 3."""
    label = np.zeros((8, 8, 8), np.uint8)
    label[:3, :3, :3] = 1
    label[6, 6, 5:7] = 1
    label[1, 1, 1] = 2
    label[5, 1, 1:4] = 2
    return label


def test_components_go():
    label = two_parts()
    largest = postprocess(label, LIVER, {"liver": Rule(largest=True)}, ML)
    assert ((largest == 1).sum(), (largest == 2).sum()) == (26, 4)
    small = postprocess(label, LIVER, {"liver": Rule(least_ml=0.003), "tumour": Rule(least_ml=0.003)}, ML)
    assert ((small == 1).sum(), (small == 2).sum()) == (26, 3)
    assert (postprocess(label, LIVER, {"tumour": Rule(least_ml=0.003)}, 0.003) == 2).sum() == 4, "1 voxel is 0.003 ml"
    assert postprocess(label, LIVER, {}, ML) is label
    np.testing.assert_array_equal(label, two_parts(), err_msg="what is given stays")


def test_all_classes_together_go_first():
    """As nnU-Net's first step: the tumour that touches the liver stays, whatever its size."""
    label = two_parts()
    changed = postprocess(label, LIVER, {ALL_CLASSES: Rule(largest=True)}, ML)
    assert ((changed == 1).sum(), (changed == 2).sum()) == (26, 1)
    both = postprocess(label, LIVER, {ALL_CLASSES: Rule(largest=True), "tumour": Rule(least_ml=0.002)}, ML)
    assert (both == 2).sum() == 0


def test_a_region_goes_with_what_lies_inside():
    label = two_parts()
    changed = postprocess(label, NESTED, {"whole": Rule(largest=True)}, ML)
    assert ((changed == 1).sum(), (changed == 2).sum()) == (26, 1)


def test_dev_cases_decide():
    reference = np.zeros((8, 8, 8), np.int16)
    reference[:3, :3, :3] = 1
    reference[1, 1, 1] = 2
    reference[5, 1, 1:4] = 2
    reference[7, 7, 7] = -1
    choices = choose(LIVER, [lambda: (two_parts(), reference, 0.01)] * 2)
    assert choices[0] == Choice("liver", "liver", Rule(largest=True), pytest.approx(2 * 26 / (28 + 26)), 1.0, 2)
    assert choices[1] == Choice("liver", "tumour", Rule(), 1.0, 1.0, 2), "two tumours: nothing is taken from them"


@pytest.mark.parametrize("task", [LIVER, NESTED], ids=["exclusive", "regions"])
def test_every_case_is_read_once_and_tried_in_every_way(task):
    """Against the plain rule: each candidate after what was chosen before it, on whole maps."""
    rng, read = np.random.default_rng(3), []
    pairs = [tuple(rng.choice(3, (6, 8, 8), p=[0.8, 0.15, 0.05]).astype(np.int16) for _ in range(2)) for _ in range(3)]

    def case(number):
        read.append(number)
        return *pairs[number], 0.02

    choices = choose(task, [lambda number=number: case(number) for number in range(3)])
    assert read == [0, 1, 2]
    chosen = {}
    for k, name in enumerate(task.classes[1:]):
        dice = [
            [_dice(task, postprocess(p, task, {**chosen, name: rule}, 0.02), r) for rule in CANDIDATES]
            for p, r in pairs
        ]
        best = int(np.mean(dice, (0, 2)).argmax())
        chosen[name] = CANDIDATES[best]
        before, after = (pytest.approx(np.mean(dice, 0)[number, k]) for number in (0, best))
        assert choices[k] == Choice(task.name, name, CANDIDATES[best], before, after, 3)
    assert any(rule != Rule() for rule in chosen.values()), "something is taken away here"


def _dice(task, predicted, reference):
    return (
        count_classes(torch.from_numpy(predicted), torch.from_numpy(reference), task.membership)
        .dice()
        .nan_to_num(1.0)
        .tolist()
    )


@pytest.mark.parametrize(
    "choice",
    [
        None, [], "a", {}, {"task": "a", "class_name": "b"}, {"task": "a", "class_name": "b", "cleaning": []},
        *(
            {"task": "a", "class_name": "b", "cleaning": rule}
            for rule in ({"largest": 1}, {"least_ml": "3"}, {"least_ml": -1}, {"other": 1})
        ),
        *({"task": "a", "class_name": "b", "cleaning": {"least_ml": size}} for size in (float("nan"), None, True)),
        {"task": [], "class_name": "b", "cleaning": {}}, {"task": "a", "class_name": {}, "cleaning": {}},
    ],
)  # fmt: skip
def test_a_choice_that_cannot_be_is_refused(tmp_path, choice):
    path = tmp_path / "postprocessing.json"
    for choices in [choice], *([choice] if choice != [] else []):
        path.write_text(json.dumps({"kind": "uniseg postprocessing", "choices": choices}))
        with pytest.raises(InputError, match=r"postprocessing\.json: found "):
            read_postprocessing(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "postprocessing.json"
    for text in ("", "{", "[]", '{"choices": []}', '{"kind": "nnU-Net", "choices": []}', "[" * 10**5, "\xff"):
        path.write_bytes(text.encode("latin1"))
        with pytest.raises(InputError, match=r"postprocessing\.json: found "):
            read_postprocessing(path)


def test_the_choice_is_kept(tmp_path):
    path = tmp_path / "postprocessing.json"
    write_postprocessing([Choice("liver", "tumour", Rule(least_ml=0.1), 0.5, 0.6, 4)], "abc", path)
    assert read_postprocessing(path) == {"liver": {"tumour": Rule(least_ml=0.1)}}
    assert json.loads(path.read_text())["checkpoint"] == "abc"
    path.write_text("[]")
    with pytest.raises(InputError, match="a list"):
        read_postprocessing(path)
