"""A planned experiment composes the network that was planned."""

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from uniseg.commands import local_conf
from uniseg.commands.choices import choices_of
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError

GROUPS = ("model", "optimizer", "augment")
GIVEN = [
    ["model=uniseg_published"],
    ["model=uniseg_published", "model/encoder=resenc"],
    ["model/encoder=resenc_tiny", "model.encoder.blocks=[1,2,2,2,3]"],
    ["model/conditioning=one_hot", "model/head=dynamic", "model.head.width=16"],
    ["model/conditioning=none", "model/head=per_task", "optimizer=adamw", "optimizer.lr=0.001"],
    ["model=unet_published", "model/encoder=unet", "model/decoder=nnunet"],
    ["model/conditioning=text_embedding", "model/head=dynamic", "model.conditioning.vectors.path=other.json"],
    [
        "model.conditioning.fuse=false",
        "model.conditioning.place=decoder",
        "augment=no_mirror",
        "+optimizer.dampening=0.1",
    ],
    ["experiment=demo", "model/head=dynamic", "phantom.num_cases=3"],
    ["experiment=downstream_btcv"],
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "conf/experiment").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    local_conf.register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield tmp_path


def composed(*overrides):
    return compose("prepare", overrides=["gpu_memory_gb=1", *overrides], return_hydra_config=True)


@pytest.mark.parametrize("given", GIVEN, ids=" ".join)
def test_an_experiment_repeats_the_whole_choice(folder, given):
    config = composed("task=[liver]", *given)
    choices = choices_of(config, config.hydra.runtime.choices, GROUPS)
    content = {"defaults": [{"override /task": ["liver"]}, *choices.defaults], **choices.values}
    (folder / "conf/experiment/planned.yaml").write_text(
        "# @package _global_\n" + yaml.safe_dump(content, sort_keys=False)
    )
    again = composed("experiment=planned")
    for group in GROUPS:
        assert OmegaConf.to_container(again[group], resolve=True) == OmegaConf.to_container(config[group], resolve=True)


def test_what_is_usual_is_not_repeated(folder):
    config = composed("task=[liver]", "model/encoder=resenc")
    choices = choices_of(config, config.hydra.runtime.choices, ["model"])
    assert choices.defaults == [{"override /model": "uniseg_small"}, {"override /model/encoder": "resenc"}]
    assert choices.values == {}


def test_what_was_taken_out_cannot_be_repeated(folder):
    config = composed("task=[liver]", "~model.head")
    with pytest.raises(InputError, match=r"model\.head: found taken out"):
        choices_of(config, config.hydra.runtime.choices, ["model"])
