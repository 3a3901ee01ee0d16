"""Every objective on disk keeps the contract of the door."""

import inspect
import pickle
import pkgutil
from dataclasses import fields, replace
from importlib import import_module

import numpy as np
import pytest
import torch
import yaml

import uniseg.pretext
from samples import make_task
from uniseg.environment import CONF_DIR
from uniseg.pretext.base import Objective, PretextPatch, Reconstruction
from uniseg.pretext.objectives import OBJECTIVES, find_objectives
from uniseg.settings import as_plain
from uniseg.task import IGNORE

PATCH = (16, 24, 32)
CLASSES = {
    "mae": ("T1", "FLAIR"),
    "volume_fusion": ("level_0", "level_1", "level_2"),
    "supervoxel": ("background", "a", "b"),
}
SETTINGS = {"mae": {"block": (8, 8, 8)}, "supervoxel": {"region_mm": 8.0}}
FILES = {path.stem: yaml.safe_load(path.read_text()) for path in (CONF_DIR / "pretext").glob("*.yaml")}


def task_of(name):
    return make_task("scans", ("T1", "FLAIR"), CLASSES[name], kind="pretext", objective=name)


def made(name):
    return OBJECTIVES[name](**SETTINGS.get(name, {}))


def patch_of(seed=0, constant=False):
    image = torch.randn(2, *PATCH, generator=torch.Generator().manual_seed(seed))
    image = torch.ones_like(image) if constant else torch.nn.functional.avg_pool3d(image, 5, 1, 2)
    return PretextPatch(image, torch.zeros(PATCH, dtype=torch.int16))


def applied(name, seed=0, constant=False):
    objective, task, patch = made(name), task_of(name), patch_of(seed, constant)
    drawn = objective.draw(np.random.default_rng(seed), task, PATCH)
    partner = patch_of(99, constant).image if objective.needs_partner else None
    label = objective.label_of(patch.image.numpy(), task)
    assert (label.dtype, label.shape) == (np.int16, PATCH)
    assert label.any() == (objective.labels_scans and not constant)
    return objective.apply(replace(patch, label=torch.from_numpy(label)), drawn, task, partner)


def batch_of(name, patches):
    rows = Reconstruction.stack(dict(enumerate(patches)))
    return torch.stack([each.label for each in patches]), rows, [task_of(name)] * len(patches)


def test_every_file_of_the_room_is_listed():
    modules = [
        import_module(f"{uniseg.pretext.__name__}.{each.name}")
        for each in pkgutil.iter_modules(uniseg.pretext.__path__)
    ]
    kinds = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    concrete = {kind for kind in kinds if issubclass(kind, Objective) and not inspect.isabstract(kind)}
    assert concrete == set(OBJECTIVES.values())
    assert set(FILES) == set(OBJECTIVES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_yaml_has_the_defaults(name):
    values = dict(FILES[name])
    assert values.pop("_target_") == f"{OBJECTIVES[name].__module__}.{OBJECTIVES[name].__qualname__}"
    assert values == as_plain(OBJECTIVES[name]())
    assert all("bound" in each.metadata for each in fields(OBJECTIVES[name]))
    assert OBJECTIVES[name].group == f"pretext.{name}"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_same_request_gives_the_same_sample(name):
    objective, task = made(name), task_of(name)
    one, again, other = (objective.draw(np.random.default_rng(seed), task, PATCH) for seed in (1, 1, 2))
    assert pickle.dumps(one) == pickle.dumps(again)
    assert pickle.dumps(one) != pickle.dumps(other)
    first, second = applied(name, seed=1), applied(name, seed=1)
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.label, second.label)
    assert not torch.equal(first.image, applied(name, seed=2).image)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_it_gives_an_input_a_target_and_what_counts(name):
    before = patch_of(3).image
    result = applied(name, seed=3)
    assert result.image.shape == before.shape
    assert result.label.shape == PATCH
    assert result.label.dtype == torch.int16
    if result.target is None:
        assert result.label.min() >= IGNORE
        assert result.label.max() < len(CLASSES[name])
    else:
        assert (result.label == IGNORE).all()
        assert result.target.shape == result.counted.shape == before.shape
        assert torch.equal(result.target, before)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("constant", [False, True])
def test_the_loss_is_finite_and_one_sample_says_nothing_of_another(name, constant):
    label, values, tasks = batch_of(name, [applied(name, seed, constant) for seed in (0, 1)])
    widest = max(3, len(CLASSES[name]))
    logits = [torch.randn(2, widest, *(n // 2**scale for n in PATCH)).requires_grad_() for scale in range(2)]
    padded = [level.index_fill(1, torch.arange(len(CLASSES[name]), widest), -torch.inf) for level in logits]
    losses = made(name).loss(padded, label, values, tasks)
    assert losses.shape == (2,)
    assert torch.isfinite(losses).all()
    losses[0].backward()
    assert torch.isfinite(logits[0].grad).all()
    assert not logits[0].grad[1].any()
    assert constant or logits[0].grad[0].any()


def test_a_task_finds_its_objective():
    mae = task_of("mae")
    given = made("mae")
    assert find_objectives([make_task(), mae], {"mae": given}, PATCH) == {"mae": given}
    assert find_objectives([mae], None) == {"mae": OBJECTIVES["mae"]()}
    assert find_objectives([make_task()], {"mae": given}) == {}
