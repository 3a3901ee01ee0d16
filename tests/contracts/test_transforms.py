"""Every augmentation transform on disk, and one of an installed package, keeps the contract of the door."""

import inspect
import pkgutil
import sys
from dataclasses import dataclass, fields
from importlib import import_module

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

import uniseg.sampling.augment
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.sampling.augment.base import IntensityTransform, RowTransform, Transform, draw_rows, per_row
from uniseg.sampling.augment.mirror import Mirror
from uniseg.sampling.augment.recipe import NNUNET, AugmentRecipe
from uniseg.sampling.augment.spatial import box_margin
from uniseg.sampling.batch import RawBatch
from uniseg.sampling.patches import make_batch
from uniseg.sampling.requests import PatchRequest
from uniseg.settings import as_plain

PATCH = (8, 12, 10)
OTHERS = {path: yaml.safe_load(path.read_text()) for path in (CONF_DIR / "augment" / "transform").glob("*.yaml")}


def transforms():
    """Every class that can be made, of every file of the folder."""
    modules = [
        import_module(f"{uniseg.sampling.augment.__name__}.{each.name}")
        for each in pkgutil.iter_modules(uniseg.sampling.augment.__path__)
    ]
    kinds = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    return sorted(
        (kind for kind in kinds if issubclass(kind, Transform) and not inspect.isabstract(kind)),
        key=lambda kind: kind.__name__,
    )


KINDS = transforms()
INTENSITY = [kind for kind in KINDS if issubclass(kind, IntensityTransform)]


def made(kind, probability):
    """The transform with all its probabilities set."""
    values = {each.name: probability for each in fields(kind) if each.name == "p" or each.name.startswith("p_")}
    return kind(**values | ({"mirror_axes": ()} if kind is Mirror and not probability else {}))


def recipe_of(transform):
    recipe = AugmentRecipe()
    recipe.transforms = [transform]
    return recipe


def raw_batch(recipe, num_samples=3):
    rng, images, labels, requests = np.random.default_rng(5), [], [], []
    for place in range(num_samples):
        draw = recipe.draw(rng, (False, True))
        size = [n + 2 * m for n, m in zip(PATCH, box_margin(draw.matrix, PATCH), strict=True)]
        images.append(torch.from_numpy(np.random.default_rng(place).normal(size=(2, *size)).astype(np.float32)))
        labels.append((images[-1][0] > 0.5).to(torch.int16))
        requests.append(PatchRequest(0, "case", 100 + place, False, draw, 0, place))
    return RawBatch(images, labels, requests)


def test_the_lists_are_not_empty():
    assert {kind.__name__ for kind in KINDS} >= {"Affine", "Mirror", "Noise", "Blur", "Gamma", "BiasField", "Gin"}
    assert len(OTHERS) >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_not_drawn_is_the_identity(kind):
    recipe = recipe_of(made(kind, 0.0))
    raw = raw_batch(recipe)
    batch = make_batch(raw, PATCH, recipe)
    assert torch.equal(batch.image, torch.stack(raw.images))
    assert torch.equal(batch.label, torch.stack(raw.labels))


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_changes_the_image_alike_alone_and_in_a_batch(kind):
    recipe = recipe_of(made(kind, 1.0))
    raw, again = raw_batch(recipe), raw_batch(recipe)
    unchanged = [image.clone() for image in raw.images]
    batch, same = make_batch(raw, PATCH, recipe), make_batch(again, PATCH, recipe)
    assert torch.equal(batch.image, same.image), "the same seed gives the same bits"
    assert torch.equal(batch.label, same.label)
    changes = [
        patch.shape != box.shape or float((patch - box).abs().max()) > 1e-3
        for patch, box in zip(batch.image, unchanged, strict=True)
    ]
    assert any(changes)
    for i in range(3):
        alone = make_batch(
            RawBatch(raw.images[i : i + 1], raw.labels[i : i + 1], raw.requests[i : i + 1]), PATCH, recipe
        )
        torch.testing.assert_close(batch.image[i], alone.image[0], atol=1e-5, rtol=1e-5)
        assert torch.equal(batch.label[i], alone.label[0])


@pytest.mark.parametrize("kind", INTENSITY)
def test_intensity_leaves_labels_and_rows_of_zeros(kind):
    recipe = recipe_of(made(kind, 1.0))
    raw = raw_batch(recipe)
    for image in raw.images:
        image[1] = 0
    batch = make_batch(raw, PATCH, recipe)
    assert torch.equal(batch.label, torch.stack(raw.labels))
    assert batch.image[:, 1].abs().max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_its_yaml_gives_its_defaults(kind):
    if kind in NNUNET:
        values = yaml.safe_load((CONF_DIR / "augment" / "nnunet.yaml").read_text())
    else:
        target = f"{kind.__module__}.{kind.__name__}"
        (values,) = (values for values in OTHERS.values() if values["_target_"] == target)
    for each in fields(kind):
        assert values[each.name] == as_plain(each.default), each.name


def composed(*overrides):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return instantiate(compose("train", overrides=list(overrides)).augment, _convert_="all")


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_a_transform_is_added_on_the_command_line(path):
    recipe = composed(f"+augment/transform@augment.transforms.added={path.stem}", "augment.transforms.added.p=1")
    assert [type(each) for each in recipe.transforms[:-1]] == list(NNUNET)
    assert recipe.transforms[-1].p == 1


@dataclass(frozen=True, kw_only=True)
class Halve(RowTransform):
    """As somebody else's package has it."""

    p: float = 0.5

    def draw(self, rng, optional):
        return draw_rows(rng, len(optional), self.p, 1, lambda: 0.5)

    def change(self, rows, parameters):
        return rows * per_row(parameters, rows)


def test_a_class_of_another_package_takes_part(monkeypatch):
    monkeypatch.setitem(sys.modules, "somebody", sys.modules[__name__])
    plain = composed("augment=none")
    recipe = composed("augment=none", "+augment.transforms.halve={_target_: somebody.Halve, p: 1}")
    raw = raw_batch(plain)
    mine = raw_batch(recipe)
    assert [r.seed for r in raw.requests] == [r.seed for r in mine.requests]
    batch = make_batch(mine, PATCH, recipe)
    torch.testing.assert_close(batch.image, 0.5 * torch.stack(raw.images))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p_nois": 0.1}, r"augment\.p_nois: found an unknown key"),
        ({"transforms": {"mine": 3}}, r"augment\.transforms\.mine: found 3; expected a SpatialTransform"),
        ({"noise_sd": (0.2, 0.1)}, r"augment\.noise_sd: found \[0\.2, 0\.1\]"),
    ],
)
def test_what_is_no_recipe_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        AugmentRecipe(**changes)
