"""What a task says about its classes, and what it refuses."""

import json

import pytest
import torch

from samples import make_task
from uniseg.datasets.source import make_task as task_from_yaml
from uniseg.errors import InputError
from uniseg.models.heads.base import label_scores
from uniseg.task import Task, TaskSet

NESTED = make_task(
    "tumour",
    classes=("background", "whole", "core"),
    regions=((1, 2, 3), (3,)),
    modalities=("T1", "T2"),
    optional=("T2",),
    reference="T1",
)


def test_membership_by_hand():
    assert make_task().membership == ((False, False), (True, False), (False, True))
    assert NESTED.membership == ((False, False), (True, False), (True, False), (True, True))
    assert (NESTED.num_labels, NESTED.num_classes, NESTED.reference_position) == (4, 3, 0)


def test_a_task_survives_json():
    assert Task.from_dict(json.loads(json.dumps(NESTED.to_dict()))) == NESTED


def test_a_task_of_an_older_checkpoint_is_read():
    values = make_task().to_dict()
    for later in ("regions", "optional", "reference"):
        del values[later]
    assert Task.from_dict(values) == make_task()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"regions": ((1,),)}, "label values above 0"),
        ({"regions": ((1,), (0, 2))}, "label values above 0"),
        ({"regions": ((1,), ())}, "label values above 0"),
        ({"optional": ("PET",)}, "'PET'"),
        ({"reference": "MR"}, "'MR'"),
        ({"optional": ("CT",)}, "one modality"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        make_task(**wrong)


def test_yaml_names_regions_by_class():
    values = {
        "modalities": ["T1"], "classes": ["background", "whole", "core"], "spacing_mm": [1, 1, 1],
        "normalization": {"T1": {"mode": "zscore"}}, "regions": {"core": [3], "whole": [1, 3]},
    }  # fmt: skip
    assert task_from_yaml("tumour", values).regions == ((1, 3), (3,))
    for wrong in ({"core": [3]}, {"core": [3], "hole": [1]}):
        with pytest.raises(InputError, match="regions"):
            task_from_yaml("tumour", values | {"regions": wrong})
    with pytest.raises(InputError, match="no normalization"):
        task_from_yaml("tumour", values | {"normalization": {}})


def test_the_likeliest_value_wins():
    """Four voxels: outside; whole; whole with core; a core without its whole, which no label value knows."""
    whole, core = torch.tensor([-1.0, 2, 2, -1]), torch.tensor([-2.0, -1, 1, 3])
    logits = torch.stack([torch.full((4,), 9.0), whole, core])[:, None, None]
    scores = label_scores(logits, NESTED)
    assert scores[:, 0, 0].argmax(0).tolist() == [0, 1, 3, 3]
    assert scores[3, 0, 0].tolist() == (whole + core).tolist()
    assert label_scores(torch.zeros(2, 5, 1, 1, 4), make_task()).shape == (2, 3, 1, 1, 4)


WRONG_TYPES = {
    "name": (None, 3, "../x", "", ["liver"]),
    "modalities": ("CT", None, 3, [], [1], [None], [["CT"]], {"CT": 1}, [f"m{i}" for i in range(257)]),
    "classes": (
        "ab",
        None,
        ["background", 1],
        ["background", True],
        ["background", "a\nb"],
        ["background", "x" * 201],
        ["background", {}],
        range(40_000),
    ),
    "spacing_mm": (
        "111",
        [1, 1],
        [1, 1, "1"],
        [1, 1, None],
        [1, 1, float("nan")],
        [1, 1, 1e300],
        [1, 1, 10**400],
        [1, 1, -1],
        [1, 1, True],
        [1, 1, 1e-9],
    ),
    "normalization": (
        None,
        "zscore",
        [],
        [None],
        [["mode"]],
        [{}],
        [{"mode": "zscore", "other": 1}],
        [{"mode": ["zscore"]}],
        [{"mode": "zscore"}] * 2,
    ),
    "regions": (
        "12",
        [1, 2],
        [[1], []],
        [[1], ["2"]],
        [[1], [2.0]],
        [[1], [True]],
        [[1], [2 * 10**9]],
        [[1], [0]],
        [[1], [[2]]],
        [[1], None],
        3,
    ),
    "optional": ("CT", None, [3], {"CT": 1}),
    "reference": (3, ["CT"], "", {}),
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG_TYPES.items() for value in values]
)
def test_values_of_another_type_are_refused_in_one_line(field, value):
    value = list(map(str, value)) if isinstance(value, range) else value
    with pytest.raises(InputError, match="found ") as caught:
        Task.from_dict(make_task().to_dict() | {field: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [None, [], "liver", {}, {"name": "a"}, make_task().to_dict() | {"other": 1}])
def test_another_thing_than_a_task_is_refused(values):
    with pytest.raises(InputError, match="the fields of a Task"):
        Task.from_dict(values)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lower": "0"},
        {"upper": float("nan")},
        {"mean": float("inf")},
        {"sd": 1e300},
        {"sd": True},
        {"masked": "yes"},
        {"mode": None},
    ],
)
def test_numbers_of_a_normalisation(wrong):
    values = {"mode": "fingerprint", "lower": 0, "upper": 1, "mean": 0.5, "sd": 0.1} | wrong
    with pytest.raises(InputError, match="normalization"):
        Task.from_dict(make_task().to_dict() | {"normalization": [values]})


def test_the_largest_label_value():
    """One row for all the values that no region has: counted in megabytes, not in gigabytes."""
    task = make_task(regions=((1, 32767), (2,)))
    assert (task.num_labels, len(task.membership)) == (32768, 32768)
    assert [v for v, row in enumerate(task.membership) if any(row)] == [1, 2, 32767]
    assert task.membership[32767] == (True, False)
    assert len({id(row) for row in task.membership}) == 4


def test_more_tasks_than_a_network_has_are_refused():
    tasks = [make_task(f"t{i}") for i in range(1001)]
    assert len(TaskSet(tasks[:1000])) == 1000
    with pytest.raises(InputError, match="and 989 more"):
        TaskSet(tasks)
    for wrong in (None, "ab", {"a": 1}):
        with pytest.raises(InputError, match="a list"):
            TaskSet.from_list(wrong)


def test_a_pretext_task_may_give_one_thing_alone():
    task = make_task("scans", classes=("CT",), kind="pretext", objective="mae")
    assert (task.is_pretext, task.num_classes, task.num_labels, task.class_values) == (True, 1, 1, ())
    assert Task.from_dict(task.to_dict()) == task
    assert TaskSet([task, make_task()]).segmentations == (make_task(),)


def test_a_segmentation_is_described_as_by_versions_before():
    """Whose files and caches are known by it."""
    assert not {"kind", "objective"} & (make_task().to_dict().keys() | make_task().definition().keys())


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "pretext"},
        {"objective": "mae"},
        {"kind": "pretext", "objective": 3},
        {"kind": "other", "objective": "mae"},
        {"kind": "pretext", "objective": "mae", "regions": ((1,), (2,))},
    ],
)
def test_kind_and_objective_belong_together(values):
    with pytest.raises(InputError, match="expected pretext with an objective and no regions, or segmentation without"):
        make_task(**values)
