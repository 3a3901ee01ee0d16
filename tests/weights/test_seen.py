"""What a network has seen stays known, by whatever way it came to its weights."""

import pytest

from samples import make_task, small_model
from uniseg import load_model, save_model, save_task
from uniseg.models.provenance import Provenance
from uniseg.task import TaskSet
from uniseg.weights.description import require_provenance
from uniseg.weights.foreign.open import open_source
from uniseg.weights.seen import Seen, data_facts, find_seen, merge_data
from uniseg.weights.transfer import transfer

PATIENTS = {f"c{number}": f"hospital/{number}" for number in range(6)}


def facts(train, val=(), test=(), licence="CC BY"):
    return data_facts({"train": train, "val": val, "test": test}, PATIENTS, licence=licence, homepage="")


def test_what_was_once_for_training_or_dev_stays_so():
    merged = merge_data({"liver": facts(["c0", "c1"], ["c2"], ["c3"])}, {"liver": facts(["c2", "c3"], ["c0"], ["c1"])})[
        "liver"
    ]
    assert (merged["train"], merged["val"], merged["test"]) == (["c2", "c3", "c0", "c1"], ["c0", "c2"], ["c1"])
    assert merged["patients"] == {
        "train": [f"hospital/{number}" for number in range(4)],
        "val": ["hospital/0", "hospital/2"],
    }


def test_the_stricter_licence_holds_whichever_came_first():
    free, strict = {"liver": facts(["c0"])}, {"liver": facts(["c1"], licence="CC BY-NC")}
    assert merge_data(free, strict)["liver"]["licence"] == merge_data(strict, free)["liver"]["licence"] == "CC BY-NC"
    assert merge_data({"liver": {"licence": ""}}, free)["liver"]["licence"] == "CC BY"


def test_facts_of_an_older_version_have_no_patients():
    old = {"liver": {"licence": "", "homepage": "", "train": ["c0"], "val": [], "test": ["c1"]}}
    merged = merge_data(old, {"liver": facts(["c2"])})
    assert merged["liver"]["train"] == ["c2", "c0"]
    assert [seen.case_id for seen in find_seen(merged, "liver", PATIENTS, ["train"])] == ["c0", "c2"]


def test_a_patient_is_known_under_every_task():
    data = {"liver": facts(["c0"], ["c1"])}
    assert list(find_seen(data, "spleen", PATIENTS, ["train", "val"])) == [
        Seen("c0", "train", "liver", "hospital/0"), Seen("c1", "val", "liver", "hospital/1"),
    ]  # fmt: skip
    assert list(find_seen(data, "spleen", {"c0": "elsewhere/0"}, ["train", "val"])) == []
    assert list(find_seen(data, "liver", {"c0": "elsewhere/0"}, ["train"])) == [Seen("c0", "train", "liver")]


@pytest.fixture
def trained(tmp_path):
    model = small_model(TaskSet([make_task()]))
    model.provenance = Provenance.from_dict({"data": {"liver": facts(["c0"], ["c1"], ["c2"])}})
    return model, save_model(model, tmp_path / "trained")


def test_a_transfer_adds_to_the_record(trained):
    _, folder = trained
    other = small_model(TaskSet([make_task()]), seed=1)
    other.provenance = Provenance.from_dict({"data": {"liver": facts(["c3"])}})
    transfer(other, open_source(folder))
    assert set(other.provenance.data["liver"]["train"]) == {"c0", "c3"}


def test_a_task_file_adds_to_the_record(trained, tmp_path):
    """The base once learnt from other cases of a task of the same name, which it does not answer any more."""
    model, _ = trained
    model.provenance.data["spleen"] = facts(["c4"])
    folder = save_model(model, tmp_path / "base")
    grown = load_model(folder)
    grown.extend([make_task("spleen", classes=("background", "spleen"))], adapter_channels=2)
    grown.provenance = Provenance.from_dict({"data": {"spleen": facts(["c5"])}})
    file = save_task(grown, "spleen", tmp_path / "spleen.safetensors")
    assert set(load_model(folder, [file]).provenance.data["spleen"]["train"]) == {"c4", "c5"}


def test_facts_of_earlier_files_say_dev():
    former = {"train": ["c0"], "dev": ["c1"], "test": [], "patients": {"train": ["hospital/0"], "dev": ["hospital/1"]}}
    data = require_provenance({"data": {"liver": former}}, "file").data
    assert data["liver"] == {
        "train": ["c0"],
        "val": ["c1"],
        "test": [],
        "patients": {"train": ["hospital/0"], "val": ["hospital/1"]},
    }
