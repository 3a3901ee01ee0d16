"""A checkpoint is the weights that were written, or it is refused."""

import random
import resource
import time

import pytest
import torch

from samples import make_task, small_model
from uniseg import InputError, load_model
from uniseg.task import TaskSet
from uniseg.weights.checkpoint import describe_model, read_checkpoint


def content_of(model) -> dict:
    """As Lightning writes it, with an optimiser's state."""
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    momenta = {i: {"momentum_buffer": torch.randn_like(p)} for i, p in enumerate(model.parameters())}
    optimizer = {"state": momenta, "param_groups": [{"lr": 0.01, "params": list(momenta)}]}
    return {
        "epoch": 1,
        "global_step": 4,
        "state_dict": state,
        "optimizer_states": [optimizer],
        "uniseg": describe_model(model, state),
    }


@pytest.fixture
def content() -> dict:
    return content_of(small_model(TaskSet([make_task(), make_task("spleen", classes=("background", "spleen"))])))


def refused(path, *parts: str) -> None:
    with pytest.raises(InputError) as error:
        load_model(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    for part in parts:
        assert part in text


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return len(one) == len(other) and all(map(same, one, other)) if isinstance(one, list) else one == other


def test_no_flipped_bit_passes_for_a_weight_nor_for_an_optimisers_state(content, tmp_path):
    path, draw = tmp_path / "last.ckpt", random.Random(0)
    torch.save(content, path)
    whole = path.read_bytes()
    caught = 0
    for at in [*draw.sample(range(len(whole)), 100), *draw.sample(range(len(whole) - 5000, len(whole)), 50)]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :])
        try:
            read = read_checkpoint(path)
        except InputError:
            caught += 1
        else:
            assert same(read, content), "only the space between records may change"
    assert caught > 50


def test_tensors_that_another_program_wrote_over_are_refused(content, tmp_path):
    """The archive's checksums hold; only the description's does not."""
    content["state_dict"]["model.decoder.stages.0.conv.conv.weight"].view(-1)[3] += 1
    torch.save(content, tmp_path / "last.ckpt")
    refused(tmp_path / "last.ckpt", "damaged tensors")


def test_weights_that_are_no_numbers_are_named(content, tmp_path):
    path, name = tmp_path / "last.ckpt", "model.decoder.stages.0.conv.conv.weight"
    for value in (float("nan"), float("inf"), float("-inf")):
        content["state_dict"][name].view(-1)[3] = value
        torch.save(content, path)
        refused(path, f"NaN or inf in '{name}'")


@pytest.mark.parametrize(
    ("part", "target"),
    [
        ("head", "os.system"),
        ("head", "uniseg.models.blocks.init_weights"),
        ("head", "uniseg.models.uniseg.partial"),
        ("head", "uniseg.models.decoder.Decoder"),
        ("encoder", "uniseg.models.heads.static.StaticHead"),
        ("encoder", "uniseg.models.encoders.unet.conv_block"),
        ("conditioning", "uniseg.models.nowhere.Prompt"),
        ("conditioning", "uniseg.models."),
    ],
)
def test_only_parts_of_a_network_may_be_named(content, tmp_path, part, target):
    content["uniseg"]["model"][part]["_target_"] = target
    torch.save(content, tmp_path / "last.ckpt")
    refused(tmp_path / "last.ckpt", target.rpartition(".")[0])


@pytest.mark.parametrize("name", ["../scans", "/abs", "..", "a\0b", "x" * 300, "", 3])
def test_a_task_that_would_be_written_elsewhere_is_refused_by_the_file(content, tmp_path, name):
    content["uniseg"]["tasks"][0]["name"] = name
    torch.save(content, tmp_path / "last.ckpt")
    refused(tmp_path / "last.ckpt", "task")


@pytest.mark.parametrize(
    "edit",
    [
        lambda values: values["model"]["conditioning"].update(hidden_channels=3000),
        lambda values: values["model"]["encoder"].update(channels=[6, 8, 3000]),
        lambda values: values["model"]["encoder"].update(channels=[6, 8, 10**9]),
        lambda values: values["model"]["encoder"].update(kernels=[[1, 3, 3], [3, 3, 3], [3000, 3000, 300]]),
        lambda values: values["model"].update(added=[{"adapter_channels": 10**9}]),
        lambda values: values["model"].update(patch_size=[8, 16, 10**6]),
        lambda values: values["model"].update(patch_size=[1024, 1024, 1024]),
        lambda values: values["tasks"][0].update(regions=[[2 * 10**9], [1]]),
        lambda values: values["tasks"][0].update(classes=[f"c{k}" for k in range(40_000)]),
        lambda values: values.update(tasks=[values["tasks"][0] | {"name": f"t{i}"} for i in range(1001)]),
    ],
)
def test_nothing_is_allocated_for_a_description(content, tmp_path, edit):
    """Peak memory and time stay where they were."""
    edit(content["uniseg"])
    torch.save(content, tmp_path / "last.ckpt")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    refused(tmp_path / "last.ckpt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kB"
    assert time.monotonic() - start < 20
