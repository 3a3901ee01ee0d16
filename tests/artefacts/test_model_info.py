"""What ``uniseg info`` says: the keys that programs read, licences, scores, the memory that prediction keeps to."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samples import make_task, small_model
from started import run, succeed
from uniseg.artefacts.model_info import ScanSize, as_text, describe, memory_bytes
from uniseg.errors import InputError
from uniseg.images.volume import Volume
from uniseg.inference.memory import GB
from uniseg.inference.predictor import Predictor
from uniseg.inference.settings import InferenceSettings
from uniseg.models.provenance import Provenance
from uniseg.task import TaskSet
from uniseg.weights.folder import save_model
from uniseg.weights.hashing import checkpoint_hash
from uniseg.weights.task_file import save_task

SCAN = ScanSize((300, 512, 512), (1.5, 0.8, 0.8))
DATA = {
    "liver": {"licence": "CC BY-SA 4.0", "homepage": "https://a.org", "train": ["a", "b"], "val": ["c"], "test": []},
    "old": {"licence": "CC BY-NC 4.0", "train": ["x"]},
}
KEYS = {
    *("format", "uniseg", "checkpoint", "num_networks", "num_parameters", "patch_size", "parts", "licence"),
    *("licence_of_weights", "citations", "commit", "scan", "tasks", "data"),
}
TASK_KEYS = {
    *("name", "modalities", "optional", "classes", "label_values", "spacing_mm", "added", "scores"),
    *("memory_gb", "least_memory_gb"),
}


def grown():
    model = small_model(TaskSet([make_task()]))
    scores = {"liver": {"dice": 0.912, "num_cases": 3}}
    model.provenance = Provenance(DATA, commit="a1b2c3", scores=scores, citations=("Ye et al. 2023",))
    model.extend([make_task("ms", ("T1", "FLAIR"), ("background", "lesion"), optional=("T1",))], adapter_channels=2)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_model(grown(), tmp_path_factory.mktemp("info") / "model")


def test_the_keys_are_those_that_are_documented(folder):
    info = describe(folder, [], SCAN)
    assert set(info) == KEYS
    assert all(set(task) == TASK_KEYS for task in info["tasks"])
    page = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
    assert [key for key in sorted(KEYS | TASK_KEYS) if f"`{key}`" not in page] == []


def test_what_it_says_is_what_the_network_is(folder):
    info = describe(folder, [], SCAN)
    assert info["checkpoint"] == checkpoint_hash(folder)
    assert info["num_parameters"] == sum(each.numel() for each in grown().parameters())
    assert info["parts"]["encoder"] == "UNetEncoder"
    liver, ms = info["tasks"]
    assert (liver["added"], ms["added"]) == (False, True)
    assert liver["label_values"] == {"liver": [1], "tumour": [2]}
    assert liver["scores"] == {"dice": 0.912, "num_cases": 3}
    assert (ms["modalities"], ms["optional"], ms["scores"]) == (["T1", "FLAIR"], ["T1"], None)
    assert info["data"]["liver"]["cases"] == {"train": 2, "val": 1, "test": 0}


def test_the_licence_is_the_strictest_of_all_that_it_saw(folder, tmp_path):
    """A task without a recorded licence may forbid anything; data of tasks that it lost count too."""
    assert describe(folder, [], SCAN)["licence"] == "unknown (not recorded)"
    model = small_model(TaskSet([make_task()]))
    model.provenance = Provenance(DATA)
    assert describe(save_model(model, tmp_path / "known"), [], SCAN)["licence"] == "CC BY-NC 4.0"


def test_for_a_person_it_says_the_same(folder):
    text = as_text(describe(folder, [], SCAN))
    assert "liver: CT -> liver, tumour, at 2 x 1 x 1 mm" in text
    assert "ms, added: T1 + FLAIR (may lack T1) -> lesion" in text
    assert "data: 2 train, 1 val, 0 test; licence CC BY-SA 4.0; https://a.org" in text
    assert "test Dice: 0.912" in text
    assert "its weights also saw the data of old" in text
    assert "cite: Ye et al. 2023" in text


def test_a_prediction_keeps_to_the_least_memory_and_not_to_less():
    model = small_model(TaskSet([make_task()]))
    scan = Volume.of_array(np.random.default_rng(0).normal(size=(12, 40, 40)), (2, 1, 1))
    least, whole = memory_bytes([model], 0, ScanSize((12, 40, 40), (2, 1, 1)))
    assert least < whole
    Predictor(model, InferenceSettings(device="cpu", max_memory_gb=1.001 * least / GB)).predict(scan, ["liver"])
    with pytest.raises(InputError, match="max_memory_gb"):
        Predictor(model, InferenceSettings(device="cpu", max_memory_gb=0.99 * least / GB)).predict(scan, ["liver"])


def test_a_larger_scan_takes_more(folder):
    small, large = (describe(folder, [], replace(SCAN, shape=(n, 512, 512)))["tasks"][0] for n in (100, 400))
    assert small["memory_gb"] < large["memory_gb"]


def test_the_command_for_programs_and_for_people(folder, tmp_path):
    model = grown()
    file = save_task(model, "ms", tmp_path / "ms.safetensors")
    base = small_model(TaskSet([make_task()]))
    save_model(base, tmp_path / "base")
    done = succeed("info", f"checkpoint={folder}", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == describe(folder, [], SCAN)
    grown_again = succeed("info", "checkpoint=base", f"task_files=[{file}]", "shape=[10,20,20]", cwd=tmp_path)
    assert "ms, added" in grown_again.stdout
    assert "a scan of 10 x 20 x 20 voxels" in grown_again.stdout
    refused = run("info", "checkpoint=nothing.ckpt", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert run("info", "checkpoint=base", "shape=[1,2]", cwd=tmp_path).returncode == 2
