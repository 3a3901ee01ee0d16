"""A task goes to another copy of its base through a file, and to nothing else."""

import copy
import json

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from samples import make_task
from uniseg import InputError, load_model, load_tasks, save_model, save_task
from uniseg.environment import CONF_DIR
from uniseg.models.provenance import Provenance
from uniseg.task import TaskSet
from uniseg.weights.hashing import checkpoint_hash
from uniseg.weights.task_file import base_hash

GALLBLADDER = make_task("gallbladder", classes=("background", "wall", "bile", "stone"))
HEART = make_task("heart", ("MR", "CT"), ("background", "heart"))


@pytest.fixture
def base(model, tmp_path):
    return save_model(model, tmp_path / "base")


def grown(base, *tasks):
    """As after some training: what was added is no longer what extend drew."""
    model = load_model(base)
    model.extend(tasks, adapter_channels=2)
    for p in model.added.parameters():
        p.data += 0.1 * torch.randn_like(p)
    model.provenance = Provenance.from_dict(
        {"data": {task.name: {"licence": "CC BY 4.0", "train": ["a"]} for task in tasks}}
    )
    return model.eval()


def logits(model, name):
    task_index = model.tasks.position(name)
    image = torch.randn(
        1, model.tasks[task_index].num_modalities, 8, 16, 16, generator=torch.Generator().manual_seed(1)
    )
    with torch.inference_mode():
        return model(image, torch.tensor([task_index]))


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_task_comes_back_bit_for_bit_whatever_the_order(base, model, tmp_path):
    there = grown(base, GALLBLADDER, HEART)
    files = [save_task(there, task.name, tmp_path / f"{task.name}.safetensors") for task in (GALLBLADDER, HEART)]
    for order in (files, files[::-1]):
        here = load_model(base, order)
        assert set(here.tasks.names) == set(there.tasks.names)
        for name in here.tasks.names:
            assert equal(logits(here, name), logits(there, name))
        for name in model.tasks.names:
            assert equal(logits(here, name), logits(model.eval(), name))
        assert here.provenance.data["heart"]["licence"] == "CC BY 4.0"
    assert load_model(save_model(here, tmp_path / "both")).tasks == here.tasks
    assert not equal(logits(here, "gallbladder"), logits(grown(base, GALLBLADDER), "gallbladder"))


def test_each_grown_alone_from_the_same_base_go_together(base, tmp_path):
    apart = [grown(base, task) for task in (GALLBLADDER, HEART)]
    here = load_model(base, [save_task(m, m.tasks[-1].name, tmp_path / m.tasks[-1].name) for m in apart])
    for m in apart:
        assert equal(logits(here, m.tasks[-1].name), logits(m, m.tasks[-1].name))


def test_another_base_is_refused(base, model, tmp_path):
    file = save_task(grown(base, HEART), "heart", tmp_path / "heart.safetensors")
    with torch.no_grad():
        next(model.encoder.parameters()).view(-1)[0] += 1e-6
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=f"heart.safetensors.*one of {base_hash(model)[:16]}"):
        load_tasks(model, [file])
    assert list(model.state_dict()) == list(before)
    assert len(model.tasks) == 3


def test_a_task_that_is_there_is_refused(base, tmp_path):
    file = save_task(grown(base, HEART), "heart", tmp_path / "heart.safetensors")
    twice = save_task(grown(base, HEART), "heart", tmp_path / "again.safetensors")
    with pytest.raises(InputError, match=r"again.safetensors.*'heart', which the network has"):
        load_model(base, [file, twice])


def test_only_an_added_task_has_a_file(base, tmp_path):
    with pytest.raises(InputError, match="task 'liver': found a task that the network was made with"):
        save_task(grown(base, HEART), "liver", tmp_path / "liver.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_files_of_something_else_are_refused(base, tmp_path):
    (tmp_path / "text").write_text("hello")
    for path, reason in (
        (tmp_path / "text", "text"),
        (tmp_path / "none", "none"),
        (base / "model.safetensors", "something else"),
    ):
        with pytest.raises(InputError, match=reason):
            load_model(base, [path])


def test_a_truncated_file_is_refused(base, tmp_path):
    file = save_task(grown(base, HEART), "heart", tmp_path / "heart.safetensors")
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"heart.safetensors"):
        load_model(base, [file])


def test_a_flipped_bit_is_refused(base, tmp_path):
    """Anywhere among the tensors, which lie after the description."""
    file = save_task(grown(base, HEART), "heart", tmp_path / "heart.safetensors")
    model, whole = load_model(base), file.read_bytes()
    tensors = range(8 + int.from_bytes(whole[:8], "little"), len(whole))
    for at in tensors[:: len(tensors) // 100]:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        with pytest.raises(InputError, match=r"heart\.safetensors: found (damaged tensors|NaN or inf)"):
            load_tasks(model, [file])
    assert len(model.tasks) == 3


def test_a_file_without_a_hash_is_read_as_before(base, tmp_path):
    file = save_task(grown(base, HEART), "heart", tmp_path / "heart.safetensors")
    with safe_open(file, "pt") as opened:
        metadata = json.loads(opened.metadata()["uniseg"])
    del metadata["sha256"]
    save_file(load_file(file), file, {"uniseg": json.dumps(metadata)})
    assert load_model(base, [file]).tasks.names[-1] == "heart"


def test_weights_that_are_no_numbers_are_named(base, tmp_path):
    model = grown(base, HEART)
    model.added[0].head[0].weight.data.view(-1)[0] = torch.nan
    file = save_task(model, "heart", tmp_path / "heart.safetensors")
    with pytest.raises(InputError, match=r"heart\.safetensors: found NaN or inf in 'head\.0\.weight'"):
        load_model(base, [file])


def test_the_tensors_of_another_task_are_refused_whole(base, tmp_path):
    """The first file fits, the second does not: neither is added."""
    good = save_task(grown(base, GALLBLADDER), "gallbladder", tmp_path / "good")
    bad = save_task(grown(base, HEART), "heart", tmp_path / "bad")
    with safe_open(bad, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(good), bad, metadata)
    model = load_model(base)
    with pytest.raises(InputError, match="bad"):
        load_tasks(model, [good, bad])
    assert (len(model.tasks), len(model.added), model.config["added"]) == (3, 0, [])


def test_predictions_name_the_task_files(base, tmp_path):
    files = [tmp_path / "b", tmp_path / "a"]
    for file in files:
        file.write_bytes(file.name.encode())
    names = checkpoint_hash(base, files)
    assert names == checkpoint_hash(base, files[::-1])
    assert names.startswith(checkpoint_hash(base) + "+")
    assert len(names.split("+")) == 3


def test_at_the_published_width_a_task_is_below_one_megabyte(tmp_path):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", ["task=[phantom_liver]", "model=uniseg_published", "finetune=prompt_only"])
    model = instantiate(config.model, _convert_="all")(
        TaskSet([make_task(f"t{i}") for i in range(11)]), patch_size=(64, 192, 192)
    )
    model.extend([GALLBLADDER], adapter_channels=config.finetune.adapter_channels)
    assert save_task(model, "gallbladder", tmp_path / "file").stat().st_size < 1e6
