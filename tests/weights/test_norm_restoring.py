"""Weights scaled back to the norm that they were drawn with: the network answers the same."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from networks import TASKS, build, classes, factory
from uniseg.models.decoder import Decoder
from uniseg.weights import import_nnunet
from uniseg.weights.norm_restoring import NORMS, RestoredNorms, drawn_norm, restore_norms

NNUNET = Path(__file__).parent / "nnunet"
ENCODERS = {name: cls for name, cls in classes("encoder").items() if name != "unet_small"}


def made(name):
    cls = ENCODERS[name]
    patch = (32, 32, 32) if name == "swinunetr" else (16, 32, 32)
    return factory()(TASKS, patch_size=patch, encoder=lambda: cls(**cls.SMALL)).eval()


def grow(model, names):
    """Every named convolution up to nine times as large, both halves of a decoder stage alike."""
    parts = dict(model.named_modules())
    with torch.no_grad():
        for number, name in enumerate(names):
            if name.endswith("skip_half"):
                continue
            factor = 2 + 7 * ((number * 0.37) % 1)
            if name.endswith("upsample"):
                parts[name.replace("upsample", "up_half")].weight.div_(factor)
            if name.endswith("up_half"):
                parts[name.replace("up_half", "skip_half")].weight.mul_(factor)
            for tensor in (parts[name].weight, parts[name].bias):
                if tensor is not None:
                    tensor.mul_(factor)


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
    names = list(restore_norms(copy.deepcopy(model)).factors)
    grow(model, names)
    exact = without_epsilon(copy.deepcopy(model))
    before, before_exact = answers(model), answers(exact, torch.float64)
    restored = restore_norms(model)
    assert set(restored.factors) == set(names)
    assert max(restored.factors[key] for key in names if key.startswith(("stem", "encoder"))) < 0.7
    assert (answers(model) - before).abs().max() < 5e-3 * before.std(), "the norms' epsilon is all that is left"
    restore_norms(exact.float())
    assert (answers(without_epsilon(exact), torch.float64) - before_exact).abs().max() < 1e-5
    parts = dict(model.named_modules())
    for key in names:
        if not key.endswith(("up_half", "skip_half")):
            assert float(parts[key].weight.detach().norm()) == pytest.approx(drawn_norm(parts[key].weight), rel=1e-4)
    for stage in model.decoder.stages:
        both = torch.stack([half.weight.detach().norm() for half in (stage.up_half, stage.skip_half)]).norm()
        assert float(both) == pytest.approx(drawn_norm(stage.up_half.weight), rel=1e-4)


def test_with_the_norms_epsilon_the_published_unet_stays_within_a_ten_thousandth():
    """Norms grown by four, as training leaves them."""
    model = made("unet")
    names = list(restore_norms(copy.deepcopy(model)).factors)
    with torch.no_grad():
        for name in names:
            if not name.endswith("upsample"):
                dict(model.named_modules())[name].weight.mul_(4)
    before = answers(model)
    restored = restore_norms(model)
    assert (answers(model) - before).abs().max() < 1e-4
    assert 0 < restored.change < 1e-4
    assert restored.spread > 0.1


def test_what_was_drawn_has_the_norm_that_is_expected():
    """He's initialisation of a large network, so that chance is small; the decoder's halves are one convolution."""
    torch.manual_seed(0)
    decoder = Decoder(channels=[32, 64], strides=[(1, 1, 1), (2, 2, 2)], bottleneck_channels=64)
    conv = nn.Conv3d(32, 64, 3)
    for part in (conv, *decoder.stages):
        weights = [conv.weight] if part is conv else [part.upsample.weight]
        for weight in weights:
            nn.init.kaiming_normal_(weight, a=0.01)
            assert float(weight.detach().norm()) == pytest.approx(drawn_norm(weight), rel=0.02)
    decoder.init_halves()
    stage = decoder.stages[0]
    both = torch.cat([stage.up_half.weight, stage.skip_half.weight], 1).detach()
    assert float(both.norm()) == pytest.approx(drawn_norm(both), rel=0.02)


@pytest.mark.parametrize("name", ["plain", "residual"])
def test_a_foreign_base(name):
    """Whose transposed convolutions have biases, which are scaled with them."""
    model = import_nnunet(NNUNET / f"{name}.pth")
    image = torch.randn(1, model.tasks[0].num_modalities, *model.patch_size)
    grow(model, list(restore_norms(copy.deepcopy(model)).factors))
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
    assert not any(key.removesuffix(".weight") in factors for key in fresh)


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
    assert "decoder.stages.0.upsample" not in factors
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


def test_a_record_comes_back():
    restored = RestoredNorms({"stem.convs.1": 0.25}, 1e-6, 0.5)
    assert RestoredNorms.from_dict({"factors": {"stem.convs.1": 0.25}, "change": 1e-6, "spread": 0.5}) == restored
