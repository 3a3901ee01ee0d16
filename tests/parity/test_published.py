"""The published network's numbers, where its test vectors are at hand."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from uniseg.errors import InputError
from uniseg.weights.foreign.published import import_published, read_state
from uniseg.weights.foreign.write_published import write_published
from uniseg.weights.pickled import ALLOWED

PARITY = Path(os.environ.get("UNISEG_PARITY", Path(__file__).parents[3] / "shared" / "parity"))
CHECKPOINT = PARITY / "model_final_checkpoint.model"
pytestmark = pytest.mark.skipif(not CHECKPOINT.exists(), reason=f"no parity vectors in {PARITY} (set UNISEG_PARITY)")


@pytest.fixture(scope="module")
def model():
    return import_published(CHECKPOINT)


@pytest.mark.parametrize("number", range(4))
def test_logits_of_a_tasks_own_classes(model, number):
    vectors = torch.load(PARITY / "vectors.pt", weights_only=True)
    case = vectors["cases"][number]
    with torch.inference_mode():
        logits = model(case["x"], torch.tensor([case["task"]]))
    assert len(logits) == len(case["out"]) == 5
    for ours, theirs in zip(logits, case["out"], strict=True):
        assert ours.shape[1] == model.tasks[case["task"]].num_classes
        torch.testing.assert_close(ours, theirs[:, : ours.shape[1]], atol=1e-4, rtol=0)


def test_a_batch_of_unlike_tasks_gives_each_its_own_logits(model):
    cases = torch.load(PARITY / "vectors.pt", weights_only=True)["cases"]
    widest = max(case["x"].shape[1] for case in cases)
    image = torch.cat([torch.nn.functional.pad(c["x"], (0,) * 7 + (widest - c["x"].shape[1],)) for c in cases])
    with torch.inference_mode():
        logits = model(image, torch.tensor([c["task"] for c in cases]))[0]
    assert logits.shape[1] == 4
    for ours, case in zip(logits, cases, strict=True):
        num_classes = model.tasks[case["task"]].num_classes
        torch.testing.assert_close(ours[:num_classes], case["out"][0][0, :num_classes], atol=1e-4, rtol=0)
        assert torch.isneginf(ours[num_classes:]).all()


def change(tmp_path, edit):
    with torch.serialization.safe_globals(ALLOWED):
        content = torch.load(CHECKPOINT, weights_only=True)
    edit(content["state_dict"])
    torch.save(content, tmp_path / "changed.model")
    return tmp_path / "changed.model"


def drop(state):
    del state["conv_blocks_context.2.blocks.1.instnorm.bias"]


def rename(state):
    state["tu.9.bogus"] = torch.zeros(1)


def reshape(state):
    state["fusion_layer.blocks.1.conv.weight"] = torch.zeros(3, 3, 3, 3, 3)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (drop, "conv_blocks_context.2.blocks.1.instnorm.bias"),
        (rename, "tu.9.bogus"),
        (reshape, "fusion_layer.blocks.1.conv.weight"),
    ],
)
def test_a_wrong_checkpoint_is_refused_by_the_key(tmp_path, edit, named):
    with pytest.raises(InputError, match=named):
        import_published(change(tmp_path, edit))


def test_a_checkpoint_of_other_tasks_is_refused(model):
    with pytest.raises(InputError, match="11 prompts"):
        import_published(CHECKPOINT, tasks=type(model.tasks)(model.tasks[9:]))


def test_weights_written_back_are_the_published_ones(model, tmp_path):
    """Key by key the same, but for biases that a norm cancels; the logits stay the published ones."""
    original, back = read_state(CHECKPOINT), read_state(write_published(model, tmp_path / "back.model"))
    assert {name: tensor.shape for name, tensor in back.items()} == {
        name: tensor.shape for name, tensor in original.items()
    }
    differing = {name for name, tensor in back.items() if not torch.equal(tensor, original[name])}
    assert differing
    assert all(name.endswith("bias") and "instnorm" not in name and not back[name].any() for name in differing)
    again = import_published(tmp_path / "back.model")
    for case in torch.load(PARITY / "vectors.pt", weights_only=True)["cases"]:
        with torch.inference_mode():
            logits = again(case["x"], torch.tensor([case["task"]]))
        for ours, theirs in zip(logits, case["out"], strict=True):
            torch.testing.assert_close(ours, theirs[:, : ours.shape[1]], atol=1e-4, rtol=0)


def test_a_network_of_another_kind_is_not_written_as_published(model, tmp_path):
    grown = import_published(CHECKPOINT)
    grown.extend([replace(model.tasks[0], name="new")], adapter_channels=2)
    with pytest.raises(InputError, match="with added tasks"):
        write_published(grown, tmp_path / "grown.model")
    assert not list(tmp_path.iterdir())
