"""Weights scaled back to the norm that they were drawn with: the network answers the same."""

import copy
import warnings
from pathlib import Path

import pytest
import torch

from networks import TASKS, build, classes, factory
from uniseg.models.normed_convolutions import GAIN, NORMS, normed_convolutions
from uniseg.weights import import_nnunet
from uniseg.weights.norm_restoring import RestoredNorms, restore_norms

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


def without_epsilon(model):
    """In double precision with norms that divide by the deviation alone: what is left is the algebra."""
    for part in model.modules():
        if isinstance(part, NORMS):
            part.eps = 1e-30
    return model.double()


def answers(model, dtype=torch.float32):
    image = torch.randn(1, 1, *model.patch_size, generator=torch.Generator().manual_seed(3)).to(dtype)
    with torch.no_grad():
        return model(image, torch.tensor([0]))[0]


@pytest.mark.parametrize("name", ENCODERS)
def test_the_function_is_kept_and_the_norms_are_the_drawn_ones(name):
    model = made(name)
    grow(model)
    exact = without_epsilon(copy.deepcopy(model))
    before, before_exact = answers(model), answers(exact, torch.float64)
    restored = restore_norms(model)
    assert len(restored.factors) == len(normed_convolutions(model)) + len(model.decoder.stages)
    assert max(factor for key, factor in restored.factors.items() if key.startswith(("stem", "encoder"))) < 0.7
    assert (answers(model) - before).abs().max() < 5e-3 * before.std(), "the norms' epsilon is all that is left"
    restore_norms(exact.float())
    assert (answers(without_epsilon(exact), torch.float64) - before_exact).abs().max() < 1e-5
    assert all(float(each.norm()) == pytest.approx(each.drawn_norm, rel=1e-4) for each in normed_convolutions(model))
    for stage in model.decoder.stages:
        assert float(stage.upsample.weight.detach().norm()) == pytest.approx(GAIN * len(stage.upsample.weight) ** 0.5)


def test_with_the_norms_epsilon_the_published_unet_stays_within_a_ten_thousandth():
    """Norms grown by four, as training leaves them."""
    model = made("unet")
    with torch.no_grad():
        for weight in (weight for each in normed_convolutions(model) for weight in each.weights):
            weight.mul_(4)
    before = answers(model)
    restored = restore_norms(model)
    assert (answers(model) - before).abs().max() < 1e-4
    assert 0 < restored.change < 1e-4
    assert restored.spread > 0.1


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
        assert (ours[:, rows] - theirs[:, rows]).abs().max() < 2e-3 * theirs[:, rows].std()


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
