"""A shared folder gives back the model it was written from, or says in one line why not."""

import hashlib
import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from uniseg import InputError, load_model, save_model
from uniseg.evaluation.records import Summary, TaskSummary
from uniseg.export import card_scores
from uniseg.models.provenance import Provenance
from uniseg.weights.card import model_card, split_hash
from uniseg.weights.foreign.open import open_source
from uniseg.weights.hashing import checkpoint_hash
from uniseg.weights.licences import UNKNOWN, strictest, strictness

ORIGIN = {
    "commit": "0123456789ab",
    "data": {
        "liver": {
            "licence": "CC BY-SA 4.0",
            "homepage": "https://a.example",
            "train": ["b", "a"],
            "val": ["c"],
            "test": [],
        },
        "prostate": {"licence": "CC BY-NC-SA 4.0", "homepage": "", "train": ["p"], "val": [], "test": ["q"]},
        "brain": {"licence": "CC BY 3.0", "homepage": "https://b.example", "train": ["x"], "val": [], "test": []},
    },
}


@pytest.fixture
def folder(model, tmp_path):
    model.provenance = Provenance.from_dict(ORIGIN)
    return save_model(model.eval(), tmp_path / "shared")


def describe(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def retensor(folder, tensors):
    save_file(tensors, folder / "model.safetensors")
    describe(folder, sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())


def refused(folder, *parts):
    with pytest.raises(InputError) as error:
        load_model(folder)
    text = str(error.value)
    assert "\n" not in text
    for part in (str(folder), *parts):
        assert part in text


def test_a_round_trip_changes_nothing(model, folder):
    back = load_model(folder)
    state = model.state_dict()
    assert list(back.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in back.state_dict().items())
    assert (back.tasks, back.config, back.provenance.to_dict()) == (model.tasks, model.config, ORIGIN)
    image, task = torch.randn(2, 4, 8, 16, 16), torch.tensor([0, 2])
    with torch.inference_mode():
        for ours, theirs in zip(back(image, task), model(image, task), strict=True):
            assert torch.equal(ours, theirs)
    assert checkpoint_hash(folder) == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:16]


def test_writing_again_replaces_the_folder_alone(model, folder):
    with torch.no_grad():
        next(model.parameters()).zero_()
    save_model(model, folder)
    assert not next(load_model(folder).parameters()).any()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("name", ["notes.txt", "model.json"])
def test_another_folder_is_left_alone(model, tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="no model folder"):
        save_model(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_model_folder_with_other_files_is_left_alone(model, folder):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        save_model(model, folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_the_card(folder):
    card = (folder / "README.md").read_text()
    assert "**Strictest licence of the training data: CC BY-NC-SA 4.0.**" in card
    digest = hashlib.sha256(b"dev c\ntrain a\ntrain b").hexdigest()[:16]
    assert f"| liver | 2 | 1 | 0 | `{digest}` | CC BY-SA 4.0 | https://a.example |" in card
    assert "| brain | T1, T1ce, T2, FLAIR | oedema, necrosis, enhancing | 2, 1, 1 |" in card
    assert "commit 0123456789ab" in card
    assert "None recorded." in card


def test_a_case_on_another_side_is_another_split():
    assert (
        split_hash({"train": ["a"], "test": ["b"]})
        == split_hash({"test": ["b"], "train": ["a"]})
        != split_hash({"train": ["b"], "test": ["a"]})
    )


def test_scores_stand_beside_the_image_blind_ones(model):
    model.provenance = Provenance.from_dict(
        {"scores": {"liver": {"num_cases": 7, "dice": 0.8125, "dice_nnunet": None, "blind_dice": 0.25}}}
    )
    card = model_card(model)
    assert "| liver | 7 | 0.812 | - | 0.250 |" in card
    assert "Strictest licence of the training data: unknown (not recorded)." in card


def test_scores_of_other_weights_are_refused(tmp_path):
    path = tmp_path / "metrics.json"
    numbers = {"num_cases": 1, "num_patients": 1, "dice": 0.5, "dice_nnunet": None, "blind_dice": 0.1}
    Summary(0.5, math.nan, 0.1, {"liver": TaskSummary(0.5, math.nan, 0.1, 1, 1, {})}, checkpoint="aa").write(path)
    assert card_scores(path, "aa") == {"liver": numbers}
    with pytest.raises(InputError, match="scores of weights aa"):
        card_scores(path, "bb")


def test_licences_from_free_to_strict():
    order = [
        "CC0 1.0",
        "CC BY 4.0",
        "CC BY-SA 3.0",
        "CC BY-NC 4.0",
        "CC BY-NC-SA 4.0",
        "CC BY-NC-ND 4.0",
        "research use",
        "see homepage",
    ]
    ranks = [strictness(licence) for licence in order]
    assert ranks == sorted(set(ranks))
    assert ranks[-1] == UNKNOWN
    assert strictest(order[:-1]) == "research use"
    assert strictest(order) == "unknown (see homepage)"


def test_a_changed_byte_is_refused(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    refused(folder, "model.safetensors", "SHA-256")


def test_truncated_tensors_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    refused(folder, "SHA-256")
    describe(folder, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    refused(folder, "model.safetensors", "complete safetensors file")


def test_a_folder_without_its_files_is_refused(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, "model.safetensors", "No such file")
    (folder / "model.json").unlink()
    refused(folder, "model.json", "No such file")


def test_tensors_that_do_not_fit_are_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    retensor(folder, tensors | {"another": torch.zeros(1)})
    refused(folder, "another")
    retensor(folder, tensors | {name: torch.zeros(3)})
    refused(folder, name, "size mismatch")
    retensor(folder, {key: tensor for key, tensor in tensors.items() if key != name})
    refused(folder, name, "Missing key")


def test_weights_that_are_no_numbers_are_named(folder):
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[3]
    tensors[name].view(-1)[0] = torch.inf
    retensor(folder, tensors)
    refused(folder, f"NaN or inf in '{name}'")


def test_facts_of_another_type_are_refused(folder):
    for wrong in ({"licence": 3}, {"homepage": None}, {"train": "abc"}, {"test": [1]}, []):
        describe(folder, origin={"data": {"liver": wrong}})
        refused(folder)
    for origin in ({"data": []}, {"commit": 3}, {"scores": {"liver": {"dice": "high"}}}, {"licence": "x" * 30_000}):
        describe(folder, origin=origin)
        refused(folder)


def test_a_description_of_something_else_is_refused(folder):
    text = (folder / "model.json").read_text()
    for changes, expected in [
        ({"format": 99}, "format 99"),
        ({"kind": "x"}, "something else"),
        ({"tasks": None}, "tasks"),
        ({"config": {}}, "encoder"),
    ]:
        (folder / "model.json").write_text(text)
        describe(folder, **changes)
        refused(folder, expected)


def test_code_outside_the_models_is_refused(folder):
    config = json.loads((folder / "model.json").read_text())["config"]
    describe(folder, config=config | {"head": {"_target_": "os.system", "command": "true"}})
    with pytest.raises(InputError, match=r"class .os\.system"):
        load_model(folder)


def test_the_licence_of_a_base_is_that_of_all_that_it_ever_learned(model, tmp_path):
    """Of what it was fine-tuned from too, whose task it has no more."""
    data = {name: {"licence": "CC0", "train": ["a"]} for name in model.tasks.names}
    model.provenance = Provenance.from_dict({"data": data | {"forgotten": {"licence": "CC BY-NC-ND 4.0"}}})
    assert open_source(save_model(model, tmp_path / "base")).licence == "CC BY-NC-ND 4.0"
