"""Weights scaled back to the norm that they were drawn with: the network answers the same."""

import json
import warnings
from functools import partial
from math import hypot
from pathlib import Path

import pytest
import torch

from networks import PATCH, SMALL, TASKS, build, classes, factory
from uniseg import InputError, load_model, save_model
from uniseg.models.conditioning.combined import Combined
from uniseg.models.conditioning.film import Film
from uniseg.models.conditioning.prompt_pyramid import PromptPyramid
from uniseg.models.normed_convolutions import GAIN, NORMS, normed_convolutions
from uniseg.weights import import_nnunet, norm_restoring
from uniseg.weights.build import build_model
from uniseg.weights.description import require_config
from uniseg.weights.foreign.open import open_source
from uniseg.weights.norm_restoring import RestoredNorms, restore_norms, with_common_epsilon
from uniseg.weights.transfer import transfer

NNUNET = Path(__file__).parent / "nnunet"
ENCODERS = {name: cls for name, cls in classes("encoder").items() if name != "unet_small"}


def made(name):
    cls = ENCODERS[name]
    patch = (32, 32, 32) if name == "swinunetr" else (16, 32, 32)
    return factory()(TASKS, patch_size=patch, encoder=lambda: cls(**cls.SMALL)).eval()


def grow(model):
    """Every convolution ahead of a norm up to nine times as large, and every transposed one, whose reader shrinks."""
    with torch.no_grad():
        for number, each in enumerate(normed_convolutions(model)):
            for tensor in (*each.weights, *each.biases):
                tensor.mul_(2 + 7 * ((number * 0.37) % 1))
        for stage in model.decoder.stages:
            for tensor in (stage.upsample.weight, stage.upsample.bias):
                if tensor is not None:
                    tensor.mul_(3)
            stage.up_half.weight.div_(3)


def answers(model, tasks=(0,)):
    image = torch.randn(1, 4, *model.patch_size, generator=torch.Generator().manual_seed(3))
    image = image.to(next(model.parameters()).dtype)
    with torch.no_grad():
        return torch.cat([model(image, torch.tensor([task]))[0].flatten() for task in tasks])


def assert_restored(model):
    """Whatever shares a norm has, together, the size that it was drawn with."""
    by_norm = {}
    for each in normed_convolutions(model):
        by_norm.setdefault(each.layer, []).append(each)
    for group in by_norm.values():
        assert hypot(*(each.norm() for each in group)) == pytest.approx(
            hypot(*(each.drawn_norm for each in group)), rel=1e-4
        )


@pytest.mark.parametrize("name", ENCODERS)
def test_in_double_precision_nothing_is_left(name, monkeypatch):
    """Logits are of single precision all the same."""
    monkeypatch.setattr(norm_restoring, "_probe", lambda model: torch.ones(2))  # which is in single precision
    model = made(name).double()
    grow(model)
    before = answers(model)
    restore_norms(model)
    assert (answers(model) - before).abs().max() < 2e-6


@pytest.mark.parametrize("name", ENCODERS)
def test_the_function_is_kept_and_the_norms_are_the_drawn_ones(name):
    model = made(name)
    grow(model)
    before = answers(model, (0, 2, 3))
    restored = restore_norms(model)
    assert len(restored.factors) == len(normed_convolutions(model)) + len(model.decoder.stages)
    assert max(factor for key, factor in restored.factors.items() if key.startswith(("stem", "encoder"))) < 0.7
    assert torch.isclose(answers(model, (0, 2, 3)), before, rtol=0, atol=2e-5).all(), "rounding of logits up to 8"
    assert restored.change < 2e-5
    assert restored.spread > 0.1
    assert_restored(model)
    for stage in model.decoder.stages:
        assert float(stage.upsample.weight.detach().norm()) == pytest.approx(GAIN * len(stage.upsample.weight) ** 0.5)


def test_channels_that_hardly_vary_answer_as_before():
    """Where a norm divides by its epsilon rather than by the variance."""
    model = made("unet")
    grow(model)
    with torch.no_grad():
        for each in normed_convolutions(model)[1:4]:
            each.weights[0][0].mul_(1e-4)
    before = answers(model)
    restore_norms(model)
    assert (answers(model) - before).abs().max() < 1e-5


@pytest.mark.parametrize("conditioning", ["prompt_pyramid", "combined", "film", "tokens"])
def test_a_task_that_enters_ahead_of_a_norm(conditioning):
    """Weights over a prompt beside the halves of a decoder's convolution are scaled with them."""
    model = build(f"model/conditioning={conditioning}").eval()
    if conditioning == "combined":
        pyramid = partial(PromptPyramid, hidden_channels=None, learned=True, fuse=True)
        parts = {"film": partial(Film, lr_factor=1.0), "pyramid": pyramid}
        options = {"patch_size": PATCH, "encoder": SMALL, "conditioning": partial(Combined, parts=parts)}
        model = factory()(TASKS, **options).eval()
    grow(model)
    before = answers(model, (0, 1))
    restore_norms(model)
    assert (answers(model, (0, 1)) - before).abs().max() < 1e-5


def test_a_file_keeps_the_epsilons(tmp_path):
    model = build().eval()
    grow(model)
    with torch.no_grad():
        model.stem.convs["1"].weight[0].mul_(1e-4)
    restore_norms(model)
    before = answers(model, (0, 3))
    save_model(model, tmp_path / "folder")
    assert torch.equal(answers(load_model(tmp_path / "folder"), (0, 3)), before)
    config = json.loads(json.dumps(model.config)) | {"norm_eps": {"stem.adn.N": "wide"}}
    with pytest.raises(InputError, match=r"stem\.adn\.N"):
        require_config(config, "file")
    config["norm_eps"] = {"stem.none": 1e-6}
    with pytest.raises((InputError, AttributeError)):
        build_model(model.tasks, config)


def test_the_base_of_another_fine_tuning_hands_its_epsilons_on(tmp_path):
    base = build().eval()
    grow(base)
    restore_norms(base)
    save_model(base, tmp_path / "base")
    model = build().eval()
    transfer(model, open_source(tmp_path / "base"))
    assert torch.equal(answers(model), answers(base))
    alone = build().eval()
    transfer(alone, open_source(tmp_path / "base"), "encoder")
    assert alone.encoder.stages[0][0].adn.N.eps == base.encoder.stages[0][0].adn.N.eps
    assert alone.decoder.stages[0].adn.N.eps == 1e-5


def test_formats_that_know_one_epsilon():
    model = build().eval()
    grow(model)
    restore_norms(model)
    common = with_common_epsilon(model)
    assert {part.eps for part in common.modules() if isinstance(part, NORMS)} == {1e-5}
    assert (answers(common, (0, 3)) - answers(model, (0, 3))).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["plain", "residual"])
def test_a_foreign_base(name):
    """Whose transposed convolutions have biases, which are scaled with them."""
    model = import_nnunet(NNUNET / f"{name}.pth")
    image = torch.randn(1, model.tasks[0].num_modalities, *model.patch_size)
    grow(model)
    with torch.no_grad():
        before = model(image, torch.tensor([0]))
        restored = restore_norms(model)
        after = model(image, torch.tensor([0]))
    assert any(key.endswith("upsample") for key in restored.factors)
    rows = slice(int(bool(model.tasks[0].regions)), None)
    for ours, theirs in zip(after, before, strict=True):
        assert (ours[:, rows] - theirs[:, rows]).abs().max() < 1e-5


def test_what_is_new_stays_as_it_was_drawn():
    model = build()
    fresh = {"encoder.stages.0.0.conv.weight", "decoder.stages.0.skip_half.weight", "conditioning.fuse.0.conv.weight"}
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    factors = restore_norms(model, fresh).factors
    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in fresh)
    assert "encoder.stages.1.0.conv" in factors
    assert not {"encoder.stages.0.0.conv", "decoder.stages.0.halves", "conditioning.fuse.0.conv"} & set(factors)


def test_random_numbers_and_mode_stay():
    model = build().train()
    state = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restore_norms(model)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_weights_of_zero_stay():
    model = build()
    with torch.no_grad():
        model.encoder.stages[0][0].conv.weight.zero_()
        model.decoder.stages[0].upsample.weight.zero_()
    factors = restore_norms(model).factors
    assert "encoder.stages.0.0.conv" not in factors
    assert "decoder.stages.1.upsample" in factors
    assert "decoder.stages.0.upsample" not in factors
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


def test_a_record_comes_back():
    restored = RestoredNorms({"stem.convs.1": 0.25}, 1e-6, 0.5)
    assert RestoredNorms.from_dict({"factors": {"stem.convs.1": 0.25}, "change": 1e-6, "spread": 0.5}) == restored
