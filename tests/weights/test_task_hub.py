"""Tasks beside their base: added, listed, removed, found by name at prediction; licences compose to the strictest."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from samples import make_task, save_nifti, small_model
from started import run, succeed
from uniseg import Predictor, read_volume
from uniseg.errors import InputError
from uniseg.evaluation.records import Summary
from uniseg.files import content_hash
from uniseg.inference.settings import InferenceSettings
from uniseg.models.provenance import Provenance
from uniseg.task import TaskSet
from uniseg.weights.checkpoint import load_model
from uniseg.weights.folder import save_model
from uniseg.weights.task_file import save_task
from uniseg.weights.task_hub import add_task, installed_files, list_tasks, remove_task

LICENCES = {"kidney": "CC BY-NC 4.0", "spleen": ""}


def grown(name: str, seed: int = 0):
    model = small_model(TaskSet([make_task()]))
    model.extend([make_task(name, classes=("background", name))], adapter_channels=2 + seed)
    model.provenance = Provenance({name: {"licence": LICENCES[name], "homepage": "https://a.org"}})
    return model.eval()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A base, with files of two tasks that were added to it elsewhere."""
    monkeypatch.chdir(tmp_path)
    base = small_model(TaskSet([make_task()]))
    base.provenance = Provenance({"liver": {"licence": "CC BY 4.0"}})
    save_model(base, tmp_path / "base")
    for name in LICENCES:
        save_task(grown(name), name, tmp_path / f"{name}.safetensors")
    save_nifti(tmp_path / "scan.nii.gz", np.random.default_rng(0).normal(size=(9, 20, 20)).astype(np.float32))
    return tmp_path


def test_added_tasks_are_found_by_name(folder):
    done = succeed("tasks", "add", "base=base", "file=kidney.safetensors", "citation='Heller 2019'", cwd=folder)
    assert done.stdout.splitlines() == [
        "kidney: CT -> kidney; licence CC BY-NC 4.0; no scores; cite Heller 2019",
        "1 added; strictest licence of base and tasks: CC BY-NC 4.0",
    ]
    done = succeed("predict", "checkpoint=base", "input=scan.nii.gz", "output=out", "tasks=[kidney]", cwd=folder)
    assert done.stdout.strip() == "out/kidney/scan.nii.gz"
    scan = read_volume(folder / "scan.nii.gz")
    settings = InferenceSettings(device="cpu")
    ours = Predictor.from_pretrained(folder / "base", settings=settings).predict(scan, ["kidney", "liver"])
    theirs = Predictor(grown("kidney"), settings).predict(scan, ["kidney"])
    np.testing.assert_array_equal(ours["kidney"], theirs["kidney"])
    alone = Predictor(load_model(folder / "base"), settings).predict(scan, ["liver"])
    np.testing.assert_array_equal(ours["liver"], alone["liver"])
    again = Predictor.from_pretrained(folder / "base", [folder / "kidney.safetensors"])
    assert again.model.tasks.names == ("liver", "kidney"), "a file that is given and installed counts once"


def test_the_index_says_what_each_file_is(folder):
    entry = add_task("base", "kidney.safetensors")
    assert entry == list_tasks("base")[0]
    assert entry.sha256 == content_hash(folder / "kidney.safetensors")
    assert (entry.homepage, entry.classes) == ("https://a.org", ("background", "kidney"))
    info = json.loads(succeed("info", "checkpoint=base", "--json", cwd=folder).stdout)
    assert [(task["name"], task["added"]) for task in info["tasks"]] == [("liver", False), ("kidney", True)]
    assert info["licence"] == "CC BY-NC 4.0"


def test_a_licence_that_the_file_lacks_may_be_stated_but_not_loosened(folder):
    assert add_task("base", "spleen.safetensors", licence="CC BY-SA 4.0").licence == "CC BY-SA 4.0"
    assert add_task("base", "kidney.safetensors", licence="CC0").licence == "CC BY-NC 4.0"
    remove_task("base", "spleen")
    add_task("base", "spleen.safetensors")
    content = json.loads(succeed("tasks", "list", "base=base", "--json", cwd=folder).stdout)
    assert content["licence"] == "unknown (not recorded)"
    assert [task["name"] for task in content["tasks"]] == ["kidney", "spleen"]


def test_what_was_removed_is_gone(folder):
    for name in LICENCES:
        add_task("base", f"{name}.safetensors")
    done = succeed("tasks", "remove", "base=base", "name=kidney", cwd=folder)
    assert done.stdout.startswith("spleen: CT -> spleen")
    assert sorted(path.name for path in (folder / "base/tasks").iterdir()) == ["index.json", "spleen.safetensors"]
    assert Predictor.from_pretrained("base").model.tasks.names == ("liver", "spleen")


def test_scores_are_of_the_task(folder, monkeypatch):
    class Row:
        num_cases, num_patients, dice, dice_nnunet, baseline_dice = 3, 3, 0.87, 0.9, float("nan")

    monkeypatch.setattr(Summary, "read", lambda path: SimpleNamespace(tasks={"kidney": Row}))
    given = ["tasks", "add", "base=base", "scores=metrics.json"]
    assert "Dice 0.870" in succeed(*given, "file=kidney.safetensors", cwd=folder).stdout
    assert list_tasks("base")[0].scores["blind_dice"] is None
    done = run(*given, "file=spleen.safetensors", cwd=folder)
    assert "found tasks kidney; expected scores of spleen" in done.stderr
    assert [each.name for each in list_tasks("base")] == ["kidney"]


def test_what_does_not_fit_is_refused_and_changes_nothing(folder):
    other = small_model(TaskSet([make_task()]), seed=1)
    other.extend([make_task("lung", classes=("background", "lung"))], adapter_channels=2)
    save_task(other, "lung", "lung.safetensors")
    with pytest.raises(InputError, match="found a task of the network"):
        add_task("base", "lung.safetensors")
    add_task("base", "kidney.safetensors")
    for arguments, message in [
        (["add", "file=kidney.safetensors"], "found task 'kidney', which the network has"),
        (["add"], "error: file: found nothing"),
        (["remove", "name=lung"], "found no added task 'lung'; expected one of kidney"),
        (["rename"], "argument 'rename': found no '='"),
    ]:
        done = run("tasks", *arguments, "base=base", cwd=folder)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr
    assert "found no folder" in run("tasks", "add", "base=a.ckpt", "file=kidney.safetensors", cwd=folder).stderr
    assert "found no folder" in run("tasks", "list", "base=nothing", cwd=folder).stderr
    assert [each.name for each in list_tasks("base")] == ["kidney"]


def test_a_file_that_changed_is_refused(folder):
    add_task("base", "kidney.safetensors")
    (file,) = installed_files("base")
    file.write_bytes((folder / "spleen.safetensors").read_bytes())
    done = run("predict", "checkpoint=base", "input=scan.nii.gz", "output=out", "tasks=[liver]", cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "as index.json says; uniseg tasks remove base=base name=kidney" in done.stderr
    (folder / "base/tasks/index.json").write_text('{"kind": "uniseg tasks", "format": 1, "tasks": [{"name": "../x"}]}')
    with pytest.raises(InputError, match=r"index\.json"):
        list_tasks("base")


def test_an_export_does_not_replace_a_base_with_tasks(folder):
    add_task("base", "kidney.safetensors")
    with pytest.raises(InputError, match="a model folder with other files"):
        save_model(small_model(TaskSet([make_task()])), "base")
