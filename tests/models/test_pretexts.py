"""Pretext tasks beside segmentations: the ordinary network is as without them, before and after."""

import pytest
import torch

from networks import PATCH, TASKS, build, classes, mixed_image, names
from samples import make_task
from uniseg.errors import InputError
from uniseg.models.pretexts import without_pretexts
from uniseg.task import TaskSet
from uniseg.weights.checkpoint import load_model
from uniseg.weights.folder import save_model
from uniseg.weights.foreign.open import open_source
from uniseg.weights.transfer import transfer

MAE = make_task("scans", ("CT", "PET"), ("CT", "PET"), kind="pretext", objective="mae")
FUSED = make_task("mix", ("A", "B", "C"), tuple("abcde"), kind="pretext", objective="volume_fusion")
MIXED = TaskSet([MAE, *TASKS, FUSED])


def networks(*overrides):
    made = []
    for tasks in (TASKS, MIXED):
        torch.manual_seed(3)
        made.append(build(*overrides, tasks=tasks))
    return made


@pytest.mark.parametrize("conditioning", names("conditioning"))
@pytest.mark.parametrize("training", [False, True])
def test_the_other_tasks_are_bit_identical_to_a_network_without_them(conditioning, training):
    writes_code = getattr(classes("conditioning").get(conditioning), "writes_task_code", False)
    head = "dynamic" if writes_code else "static"
    plain, mixed = networks(f"model/conditioning={conditioning}", f"model/head={head}")
    assert mixed.tasks.names == (*TASKS.names, "scans", "mix")
    left = without_pretexts(mixed)
    assert left.config == plain.config
    assert left.tasks == plain.tasks
    state, expected = left.state_dict(), plain.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    image, order = mixed_image()
    with torch.no_grad():
        outputs = [network.train(training)(image, order) for network in (plain, mixed, left)]
    for levels in zip(*outputs, strict=True):
        assert torch.equal(levels[0], levels[1])
        assert torch.equal(levels[0], levels[2])


def test_a_batch_may_mix_them():
    _, network = networks()
    image = torch.randn(3, 3, *PATCH)
    image[0, 1:] = image[1, 2:] = 0
    finest, *_ = network.eval()(image, torch.tensor([1, 4, 5]))
    assert finest.shape == (3, 5, *PATCH)
    assert torch.isfinite(finest[1, :2]).all()
    assert (finest[1, 2:] == -torch.inf).all()
    assert torch.isfinite(finest[2]).all()


def test_a_pretext_teaches_the_trunk_and_leaves_other_tasks_weights_alone():
    _, network = networks()
    network(torch.randn(1, 2, *PATCH), torch.tensor([4]))[0][:, :2].square().sum().backward()
    with_gradient = {name for name, weight in network.named_parameters() if weight.grad is not None}
    for part in ("encoder.", "decoder.", "added.0."):
        assert any(name.startswith(part) for name in with_gradient), part
    assert not any(name.startswith(("head.", "added.1.")) for name in with_gradient)
    assert not any("adapters" in name for name, _ in network.named_parameters())


def test_it_is_saved_and_comes_back(tmp_path):
    _, network = networks()
    again = load_model(save_model(network, tmp_path / "model"))
    assert again.tasks == network.tasks
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in network.state_dict().items())


def test_others_that_were_added_stay_when_pretexts_go():
    _, network = networks()
    network.extend([make_task("kidney")], adapter_channels=2)
    left = without_pretexts(network)
    assert left.tasks.names == (*TASKS.names, "kidney")
    assert left.config["added"] == [{"adapter_channels": 2}]
    image = torch.randn(1, 1, *PATCH)
    with torch.no_grad():
        one, two = network.eval()(image, torch.tensor([6])), left.eval()(image, torch.tensor([4]))
    assert torch.equal(one[0], two[0])
    assert len(network.added) == 3


def test_weights_go_into_a_network_without_them(tmp_path):
    plain, network = networks()
    report = transfer(plain, open_source(save_model(network, tmp_path / "model")))
    assert not report.missing
    assert not report.adapted
    trunk = build(tasks=TaskSet([make_task("kidney")]))
    alone = save_model(build(tasks=TaskSet([MAE])), tmp_path / "alone")
    missing = transfer(trunk, open_source(alone)).missing
    assert {name.split(".")[0] for name in missing} == {"conditioning", "head"}


def test_pretexts_alone_are_a_network_that_has_to_be_fine_tuned():
    network = build(tasks=TaskSet([MAE, FUSED]))
    assert network.num_base == 1
    with pytest.raises(InputError, match="no task but pretext tasks; expected one that segments"):
        without_pretexts(network)
