"""Networks in a notebook: from a preset, from trained weights."""

from functools import partial

import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import uniseg
from samples import make_task, small_model
from uniseg import InputError, TaskSet, UniSegModel, load_model, save_model, save_task
from uniseg.environment import CONF_DIR
from uniseg.models.encoders.unet import UNetEncoder

TINY = partial(UNetEncoder, channels=[4, 8], strides=[[2, 2, 2]], kernels=[[3, 3, 3], [3, 3, 3]])


def test_a_preset_with_tasks_by_name_and_as_objects():
    mine = make_task("mine", ("T1", "T2"), ("background", "thing"))
    model = UniSegModel.from_preset("uniseg_tiny", ["liver", mine], patch_size=(16, 32, 32), encoder=TINY)
    assert model.tasks.names == ("liver", "mine")
    assert model.tasks[0].spacing_mm == (3, 1.5, 1.5)
    assert model.patch_size == (16, 32, 32)
    assert type(model.conditioning).__name__ == "FusePrompt"
    logits = model(torch.zeros(1, 2, 16, 32, 32), torch.tensor([1]))
    assert logits[0].shape == (1, 2, 16, 32, 32)


def test_parts_by_name():
    model = UniSegModel.from_preset(
        "uniseg_tiny", ["liver"], (16, 32, 32), encoder="resenc_tiny", conditioning="one_hot", head="dynamic"
    )
    parts = (model.encoder, model.conditioning, model.head)
    assert [type(part).__name__ for part in parts] == ["ResidualEncoder", "OneHot", "DynamicHead"]


def test_hydra_may_be_in_use_and_is_left_alone():
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        before = GlobalHydra.instance()
        UniSegModel.from_preset("uniseg_tiny", ["liver"], (16, 32, 32), encoder=TINY)
        assert GlobalHydra.instance() is before
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "uniseg_tny"}, "did you mean uniseg_tiny?"),
        ({"tasks": ["livr"]}, "did you mean liver?"),
        ({"encoder": "unet_tny"}, "did you mean unet_tiny?"),
        ({"tasks": []}, "task set"),
        ({"patch_size": (3, 32, 32)}, "patch"),
    ],
)
def test_what_is_not_there_is_one_line(arguments, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        UniSegModel.from_preset(**{"name": "uniseg_tiny", "tasks": ["liver"]} | arguments)


def test_trained_weights_come_back_from_a_folder_with_a_task_file(tmp_path):
    model = small_model(TaskSet([make_task()]))
    save_model(model, tmp_path / "base")
    model.extend([make_task("spleen")], adapter_channels=2)
    save_task(model, "spleen", tmp_path / "spleen.safetensors")
    back = UniSegModel.from_pretrained(tmp_path / "base", [tmp_path / "spleen.safetensors"])
    assert type(back) is UniSegModel
    assert back.tasks.names == ("liver", "spleen")
    assert all(torch.equal(a, b) for a, b in zip(back.state_dict().values(), model.state_dict().values(), strict=True))
    assert type(load_model(tmp_path / "base")) is uniseg.UniSegModel
