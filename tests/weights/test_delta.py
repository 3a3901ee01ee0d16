"""A delta with its base is the whole network again; with another base it is nothing."""

import pytest
import torch
from safetensors import safe_open

from samples import make_task
from uniseg import InputError, load_model, save_model
from uniseg.models.provenance import Provenance
from uniseg.weights.delta import save_delta


@pytest.fixture
def base(model, tmp_path):
    return save_model(model, tmp_path / "base")


@pytest.fixture
def tuned(base):
    """The head moved, and a task was added."""
    model = load_model(base)
    model.extend([make_task("spine")], adapter_channels=2)
    model.provenance = Provenance.from_dict({"commit": "abc"})
    with torch.no_grad():
        model.head.convs[0].weight.add_(1)
    return model.eval()


def test_a_delta_holds_what_changed_and_gives_the_whole(base, tuned, tmp_path):
    path = save_delta(tuned, load_model(base), tmp_path / "delta")
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {
            name for name in tuned.state_dict() if name.startswith("added.") or name == "head.convs.0.weight"
        }
    whole = load_model(path, base=base)
    assert (whole.tasks, whole.config, whole.provenance) == (tuned.tasks, tuned.config, tuned.provenance)
    state = tuned.state_dict()
    assert list(whole.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.state_dict().items())


def test_another_base_is_refused(base, tuned, model, tmp_path):
    path = save_delta(tuned, load_model(base), tmp_path / "delta")
    with torch.no_grad():
        next(model.encoder.parameters()).view(-1)[0] += 1e-6
    with pytest.raises(InputError, match="delta: found a delta of the network"):
        load_model(path, base=save_model(model, tmp_path / "other"))


def test_a_delta_is_no_model_by_itself_nor_a_model_a_delta(base, tuned, tmp_path):
    path = save_delta(tuned, load_model(base), tmp_path / "delta")
    with pytest.raises(InputError, match="checkpoint of uniseg"):
        load_model(path)
    with pytest.raises(InputError, match="kind 'uniseg delta'"):
        load_model(base / "model.safetensors", base=base)
