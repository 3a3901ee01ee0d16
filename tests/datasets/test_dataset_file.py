"""What a data-set file gives each of its tasks."""

import pytest

from uniseg.datasets.dataset_file import declared_tasks, task_blocks
from uniseg.errors import InputError

SHARED = {
    "modalities": ["CT"],
    "spacing_mm": [3, 1.5, 1.5],
    "normalization": {"CT": {"mode": "fingerprint"}},
    "source": {"layout": "nnunet", "root": "/data/abdomen", "licence": "CC BY 4.0"},
}
LABELS = {"liver": 1, "left_kidney": 2, "right_kidney": 3, "lungs": [4, 5]}


def blocks(tasks, **shared):
    return task_blocks(SHARED | shared | {"tasks": tasks}, "abdomen.yaml")


def test_a_list_of_classes_is_a_task():
    block = blocks({"kidneys": ["left_kidney", "right_kidney"]})["kidneys"]
    assert block == SHARED | {"classes": ["background", "left_kidney", "right_kidney"]}


def test_the_background_may_be_written():
    assert blocks({"liver": ["background", "liver"]})["liver"]["classes"] == ["background", "liver"]


def test_labels_become_a_map_for_each_task():
    made = blocks({"liver": ["liver"], "kidneys": ["right_kidney", "left_kidney"], "lungs": ["lungs"]}, labels=LABELS)
    assert {name: block["source"]["label_map"] for name, block in made.items()} == {
        "liver": {1: 1, 2: 0, 3: 0, 4: 0, 5: 0},
        "kidneys": {1: 0, 2: 2, 3: 1, 4: 0, 5: 0},
        "lungs": {1: 0, 2: 0, 3: 0, 4: 1, 5: 1},
    }
    assert "label_map" not in SHARED["source"]
    assert "labels" not in made["liver"]


def test_regions_keep_the_values_that_they_name():
    own = {"classes": ["kidneys"], "regions": {"kidneys": [2, 3]}}
    assert blocks({"kidneys": own}, labels=LABELS)["kidneys"]["source"]["label_map"] == {1: 0, 2: 2, 3: 3, 4: 0, 5: 0}


def test_a_task_adds_to_what_is_shared_or_replaces_it():
    own = {
        "classes": ["liver"],
        "spacing_mm": [1, 1, 1],
        "normalization": {"CT": {"mode": "zscore"}},
        "source": {"splits": "own.json", "licence": "CC0"},
    }
    block = blocks({"fine": own, "coarse": ["liver"]})["fine"]
    assert block["spacing_mm"] == [1, 1, 1]
    assert block["normalization"] == {"CT": {"mode": "zscore"}}
    assert block["source"] == SHARED["source"] | {"splits": "own.json", "licence": "CC0"}
    assert blocks({"fine": own, "coarse": ["liver"]})["coarse"]["source"] == SHARED["source"]


def test_tasks_may_share_their_classes():
    made = blocks({"ct": {"modalities": ["CT"]}, "mr": {"modalities": ["MR"]}, "plain": None}, classes=["liver"])
    assert [block["classes"] for block in made.values()] == [["background", "liver"]] * 3
    assert made["mr"]["modalities"] == ["MR"]


def test_what_is_listed_by_class_is_cut_to_the_task():
    codes = {"liver": {"type": "10200004 Liver"}, "spleen": {"type": "78961009 Spleen"}}
    source = SHARED["source"] | {"masks": {"liver": ["a", "b"], "lung": ["c"]}}
    block = blocks({"liver": ["liver"], "spleen": ["spleen"]}, codes=codes, source=source)["liver"]
    assert block["codes"] == {"liver": {"type": "10200004 Liver"}}
    assert block["source"]["masks"] == {"liver": ["a", "b"]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "no tasks"),
        ({"modalities": ["CT"]}, "no tasks"),
        ({"tasks": {}}, "no tasks"),
        ({"tasks": ["liver"]}, "no tasks"),
        ({"tasks": {"liver": None}}, "task 'liver': None"),
        ({"tasks": {"liver": "liver"}}, "task 'liver': 'liver'"),
        ({"tasks": {"liver": 3}}, "task 'liver': 3"),
        ({"tasks": {"liver": []}}, "task 'liver': "),
        ({"tasks": {"liver": {"classes": "liver"}}}, "task 'liver': "),
        ({"tasks": {"../liver": ["liver"]}}, r"task '\.\./liver'"),
        (
            {"tasks": {"a": ["liver"]}, "labels": {"spleen": 1}},
            "task 'a' with the class 'liver'; expected one of .* spleen",
        ),
        ({"tasks": {"a": ["liver"]}, "labels": {"liver": "one"}}, "labels: "),
        ({"tasks": {"a": ["liver"]}, "labels": [1, 2]}, "labels: "),
        ({"tasks": {"a": ["liver"]}, "labels": {"liver": 1, "spleen": 1}}, "labels: value 1 of two classes"),
    ],
)
def test_another_shape_is_refused(values, message):
    with pytest.raises(InputError, match=f"^abdomen.yaml: found {message}"):
        task_blocks(values, "abdomen.yaml")


def test_the_tasks_of_a_folder(tmp_path):
    (tmp_path / "dataset").mkdir()
    assert declared_tasks(tmp_path) == {}
    for name, text in (("a", "tasks: {x: [b], y: [c]}"), ("b", "tasks: [broken"), ("c", "tasks: 3")):
        (tmp_path / f"dataset/{name}.yaml").write_text(text)
    assert declared_tasks(tmp_path) == {"x": tmp_path / "dataset/a.yaml", "y": tmp_path / "dataset/a.yaml"}
    (tmp_path / "dataset/d.yaml").write_text("tasks: {y: [c]}")
    with pytest.raises(InputError, match=r"d.yaml: found task 'y', which a.yaml declares too"):
        declared_tasks(tmp_path)
