"""A site file gives the adapted network on its own base, on no other, in kilobytes, and leaves the base as it is."""

from functools import partial

import pytest
import torch

from samples import make_task
from uniseg import InputError, Predictor, Volume, load_model, save_model
from uniseg.inference.settings import InferenceSettings
from uniseg.models.conditioning.film import Film
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.site_file import norm_state, norms_of, read_site_tasks, save_site

CONDITIONINGS = {
    "fuse_prompt": partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True),
    "film": partial(Film, lr_factor=1),
}


@pytest.fixture(params=CONDITIONINGS)
def base(request, tmp_path):
    encoder = partial(
        UNetEncoder, channels=[4, 8, 8], strides=[[1, 2, 2], [2, 2, 2]], kernels=[[1, 3, 3], [3, 3, 3], [3, 3, 3]]
    )
    tasks = TaskSet([make_task(), make_task("spleen", classes=("background", "spleen"))])
    parts = {"encoder": encoder, "conditioning": CONDITIONINGS[request.param], "head": StaticHead}
    return save_model(UniSegModel(tasks, patch_size=(8, 16, 16), **parts), tmp_path / "base")


def adapted(base, seed=1):
    model = load_model(base)
    generator = torch.Generator().manual_seed(seed)
    for tensor in norm_state(model).values():
        tensor += 0.2 * torch.randn(tensor.shape, generator=generator)
    return model


def logits(model, task_index=0):
    image = torch.randn(1, 1, 8, 16, 16, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return model(image, torch.tensor([task_index]))[0]


def test_it_gives_the_adapted_network_bit_for_bit_and_leaves_the_base(base, tmp_path):
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    model = adapted(base)
    path = save_site(load_model(base), model, ["liver"], tmp_path / "site.safetensors")
    assert path.stat().st_size < 10_000
    assert read_site_tasks(path) == ("liver",)
    again = load_model(base, site_file=path)
    for task_index in (0, 1):
        assert torch.equal(logits(again, task_index), logits(model, task_index))
        assert not torch.equal(logits(again, task_index), logits(load_model(base), task_index))
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before


def test_its_norms_are_those_that_the_task_reaches_and_those_before(base):
    names = set(norms_of(load_model(base)))
    assert {name.partition(".")[0] for name in names} >= {"stem", "encoder", "decoder"}
    assert sum(name.startswith("decoder.") for name in names) == 4


def test_another_base_is_refused_in_one_line(base, tmp_path):
    path = save_site(load_model(base), adapted(base), ["liver"], tmp_path / "site.safetensors")
    other = load_model(base)
    next(other.parameters()).data.view(-1)[0] += 1e-3
    with pytest.raises(
        InputError, match=r"site\.safetensors: found a site of the network [0-9a-f]{16}; expected one of"
    ):
        load_model(save_model(other, tmp_path / "other"), site_file=path)
    with pytest.raises(InputError, match="file of kind 'uniseg site'"):
        load_model(base, site_file=base / "model.safetensors")


def test_more_than_norms_is_no_site_file(base, tmp_path):
    model = adapted(base)
    model.decoder.stages[0].up_half.weight.data += 1
    with pytest.raises(InputError, match="scales and shifts of norms alone"):
        save_site(load_model(base), model, ["liver"], tmp_path / "site.safetensors")
    assert not (tmp_path / "site.safetensors").exists()


def test_prediction_with_it_is_for_its_tasks_alone_and_says_so(base, tmp_path):
    path = save_site(load_model(base), adapted(base), ["liver"], tmp_path / "site.safetensors")
    settings = InferenceSettings(device="cpu")
    plain, with_site = (Predictor.from_pretrained(base, settings=settings, site_file=each) for each in (None, path))
    assert with_site.checkpoint_hash.startswith(f"{plain.checkpoint_hash}+")
    assert with_site.fitting_tasks(["CT"]) == ["liver"]
    volume = Volume.of_array(torch.randn(10, 20, 20).numpy() * 300, spacing_mm=(2, 1, 1))
    assert with_site.predict(volume, ["liver"])["liver"].shape == (10, 20, 20)
    with pytest.raises(InputError, match="tasks: found 'spleen'; expected one of liver, which the site file is for"):
        with_site.predict(volume, ["spleen"])
