"""Data-set files of ``./conf/dataset``, as Hydra, help and completion see them: data, never code."""

import pytest
from hydra import compose, initialize_config_dir

from uniseg import UniSegModel
from uniseg.commands import local_conf
from uniseg.commands.builders import sources_of, tasks_of
from uniseg.commands.catalogue import Catalogue, choices_of, describe_choice
from uniseg.commands.completion import complete
from uniseg.commands.suggestions import misspelt
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError

ABDOMEN = """# Forty CTs of our own.
modalities: [CT]
spacing_mm: [3, 1.5, 1.5]
normalization: {CT: {mode: zscore}}
source: {layout: nnunet, root: "${paths.data}/abdomen"}
labels: {liver: 1, left_kidney: 2, right_kidney: 3}
tasks:
  own_liver: [liver]
  own_kidneys: {classes: [left_kidney, right_kidney], spacing_mm: [2, 1, 1]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "conf/dataset").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    local_conf.register()
    (tmp_path / "conf/dataset/abdomen.yaml").write_text(ABDOMEN)
    return tmp_path


def composed(*overrides):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("train", overrides=["run_dir=.", *overrides])


@pytest.mark.parametrize("choice", ["abdomen", "[abdomen]"])
def test_a_dataset_is_all_its_tasks(folder, choice):
    config = composed(f"dataset={choice}", "paths.data=/data")
    assert [(task.name, task.spacing_mm) for task in tasks_of(config)] == [
        ("own_liver", (3, 1.5, 1.5)),
        ("own_kidneys", (2, 1, 1)),
    ]
    assert {str(source.root) for source in sources_of(config).values()} == {"/data/abdomen"}
    assert sources_of(config)["own_kidneys"].label_map == {1: 0, 2: 1, 3: 2}


def test_one_task_of_it_beside_others(folder):
    config = composed("task=[own_kidneys,liver]", "tasks.own_kidneys.source.root=/elsewhere")
    assert tasks_of(config).names == ("own_kidneys", "liver")
    assert str(sources_of(config)["own_kidneys"].root) == "/elsewhere"
    both = composed("dataset=[abdomen]", "task=[liver,own_liver]")
    assert tasks_of(both).names == ("own_liver", "own_kidneys", "liver")


def test_an_experiment_chooses_it(folder):
    (folder / "conf/experiment").mkdir()
    (folder / "conf/experiment/mine.yaml").write_text(
        "# @package _global_\ndefaults: [{override /dataset: [abdomen]}]\nname: mine\n"
    )
    assert tasks_of(composed("experiment=mine")).names == ("own_liver", "own_kidneys")


def test_a_network_is_made_of_its_tasks(folder):
    model = UniSegModel.from_preset("uniseg_tiny", tasks=["own_kidneys"])
    assert model.tasks[0].classes == ("background", "left_kidney", "right_kidney")


def test_help_and_completion_know_its_tasks(folder):
    assert {"own_liver", "own_kidneys", "liver", "totalsegmentator_ribs"} <= set(choices_of("task"))
    assert describe_choice("dataset", "abdomen") == describe_choice("task", "own_liver") == "Forty CTs of our own."
    assert Catalogue("train", ["task=[own_liver]"]).keys["tasks.own_liver.spacing_mm"].value == "[3, 1.5, 1.5]"
    assert Catalogue("train", ["dataset=[abdomen]"]).keys["tasks.own_kidneys.spacing_mm"].value == "[2, 1, 1]"
    assert complete(["train"], "=", "uniseg train task=[own_k") == ["[own_kidneys"]
    assert "did you mean own_kidneys?" in str(misspelt("train", ["task=[own_kidney]"]))
    near = misspelt("train", ["task=[own_liver]", "tasks.own_liver.spacing=[1,1,1]"])
    assert "did you mean tasks.own_liver.spacing_mm?" in str(near)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ABDOMEN.replace("spacing_mm: [2", "spacing: [2"), "line 9: Key 'spacing' not in"),
        (ABDOMEN.replace("modalities", "modality"), "line 2: Key 'modality' not in"),
        (ABDOMEN.replace("mode: zscore", "mode: zscore, lower: low"), "line 4"),
        (ABDOMEN.replace("[3, 1.5, 1.5]", "[3, thick, 1.5]"), "line 3"),
        (ABDOMEN + "defaults: [liver]\n", "a defaults list"),
        (ABDOMEN + "_target_: os.system\n", "a key _target_"),
        (ABDOMEN.replace("root: ", "splits: {train: [{_target_: os.system}]}, root: "), "a key _target_"),
        (ABDOMEN.replace("own_kidneys:", "own.kidneys:"), "task 'own.kidneys'; expected a name without dots"),
        (ABDOMEN.replace("[CT]", "[CT"), "line 3"),
        ("- a\n", "no mapping"),
        (ABDOMEN.partition("tasks:")[0], "no tasks"),
    ],
)
def test_what_describes_no_tasks_is_refused(folder, text, message):
    (folder / "conf/dataset/abdomen.yaml").write_text(text)
    with pytest.raises(InputError) as refusal:
        composed("dataset=[abdomen]")
    assert str(refusal.value).startswith(str(folder / "conf/dataset/abdomen.yaml"))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_task_with_a_file_of_its_own_too_is_refused(folder):
    (folder / "conf/task").mkdir()
    (folder / "conf/task/own_liver.yaml").write_text("# @package tasks.own_liver\nclasses: [background, liver]\n")
    with pytest.raises(
        InputError, match=r"conf/task/own_liver.yaml: found task 'own_liver', which .*abdomen.yaml decl"
    ):
        composed("task=[own_liver]")


def test_a_file_of_ours_comes_after_that_of_the_folder(folder):
    (folder / "conf/dataset/amos.yaml").write_text(ABDOMEN.replace("own_", "amos_"))
    assert tasks_of(composed("dataset=[amos]")).names == ("amos_liver", "amos_kidneys")
