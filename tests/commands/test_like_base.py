"""A configuration after its base: the network by its description, patch, spacing, normalisation."""

from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from networks import build
from samples import make_task
from uniseg import InputError, save_model
from uniseg.commands.builders import tasks_of
from uniseg.commands.like_base import follow_base, take_settings
from uniseg.commands.structured import settings_from
from uniseg.environment import CONF_DIR
from uniseg.normalization.base import Normalization
from uniseg.planning.like_base import plan_like
from uniseg.task import TaskSet
from uniseg.training.control import FinetuneSettings
from uniseg.weights.foreign.open import open_source

TASKS = TaskSet([make_task("one"), make_task("two", ("CT", "PET"), ("background", "x"), (4, 4, 4)), make_task("three")])


def followed(base, *overrides):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("finetune", overrides=[f"base={base}", "task=[phantom_spleen]", "run_dir=x", *overrides])
    settings = settings_from(FinetuneSettings, config)
    return config, list(follow_base(config, open_source(take_settings(config, settings)), settings))


@pytest.mark.parametrize("conditioning", ["fuse_prompt", "prompt_pyramid", "combined", "film", "tokens", "none"])
def test_the_network_follows(tmp_path, conditioning):
    model = build(f"model/conditioning={conditioning}", tasks=TASKS)
    config, lines = followed(save_model(model, tmp_path / "base"))
    made = instantiate(config.model, _convert_="all")(tasks_of(config), patch_size=tuple(config.data.patch_size))
    assert made.config["encoder"] == model.config["encoder"]
    assert made.config["conditioning"] == model.config["conditioning"]
    assert tuple(config.data.patch_size) == model.patch_size
    assert "of the base" in lines[0]
    assert made(torch.zeros(1, 1, *model.patch_size), torch.tensor([0]))[0].shape[:2] == (1, 2)


def test_what_is_given_stays(tmp_path):
    base = save_model(build(tasks=TASKS), tmp_path / "base")
    config, lines = followed(base, "data.patch_size=[8,32,32]", "plan=own", "num_patients=3")
    assert list(config.data.patch_size) == [8, 32, 32]
    assert tasks_of(config)[0].spacing_mm == (5, 5, 5)
    assert config.data.num_patients == 3
    assert len(lines) == 1
    config, lines = followed(base, "network=own")
    assert config.model.encoder.channels != [4, 6, 8]
    assert tasks_of(config)[0].spacing_mm == (2, 1, 1)


def test_text_vectors_come_from_the_configuration(tmp_path):
    model = build(
        "model/conditioning=text_embedding", "model/head=dynamic", tasks=TaskSet([make_task("phantom_liver")])
    )
    base = save_model(model, tmp_path / "base")
    config, _ = followed(base, "model/conditioning=text_embedding", "model/head=dynamic")
    made = instantiate(config.model, _convert_="all")(tasks_of(config), patch_size=tuple(config.data.patch_size))
    assert made.conditioning.embeddings.abs().sum() > 0
    with pytest.raises(InputError, match="choose model/conditioning"):
        followed(base)


def test_text_vectors_of_a_part_too(tmp_path):
    text = "+model/conditioning@model.conditioning.parts.text=text_embedding"
    choices = ("model/conditioning=combined", text, "model/head=dynamic")
    base = save_model(build(*choices, tasks=TaskSet([make_task("phantom_liver")])), tmp_path / "base")
    config, _ = followed(base, *choices)
    made = instantiate(config.model, _convert_="all")(tasks_of(config), patch_size=tuple(config.data.patch_size))
    assert made.conditioning.parts["text"].embeddings.abs().sum() > 0
    with pytest.raises(InputError, match=r"model\.conditioning\.parts\.text"):
        followed(base, "model/conditioning=combined")


def test_the_plan_is_that_of_the_most_alike():
    mine = [
        make_task("a", spacing_mm=(9, 9, 9)),
        make_task("b", ("PET", "CT"), ("background", "x")),
        make_task("c", ("MR",)),
    ]
    planned = plan_like(mine, TASKS)
    assert [task.spacing_mm for task in planned.tasks] == [(2, 1, 1), (4, 4, 4), (2, 1, 1)]
    assert "its task file says 9 x 9 x 9 mm" in planned.lines[0]
    assert "the base knows CT, PET, not MR; if they are the same by another name, write" in planned.lines[2]
    wide = replace(make_task(), normalization=(Normalization("window", lower=-1000, upper=1000),))
    assert plan_like([wide], TASKS).tasks[0].normalization == TASKS[0].normalization
    assert plan_like([wide], []).tasks[0] == wide


@pytest.mark.parametrize(("control", "few", "many"), [("auto", True, False), (True, True, True), (False, False, False)])
def test_a_control_is_trained_for_few_patients(control, few, many):
    settings = FinetuneSettings(control=control)
    assert (settings.wants_control(9), settings.wants_control(10)) == (few, many)
