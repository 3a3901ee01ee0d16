"""What each switch for speed must leave as it was: outputs, gradients, names."""

from copy import deepcopy

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.training.speed import SpeedSettings, apply_speed_settings


def gradients(model):
    torch.manual_seed(1)
    image, task = torch.randn(2, 1, 8, 16, 16, dtype=next(model.parameters()).dtype), torch.tensor([0, 1])
    logits = model.train()(image, task)
    sum(x[:, :2].square().mean() for x in logits).backward()
    return [x.detach() for x in logits], {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


COMPILED = pytest.param(
    "compile", marks=[pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
)  # torch's compiler warns about its own code


@pytest.mark.parametrize("switch", ["channels_last", "checkpoint_activations", COMPILED])
def test_numbers_and_names_stay(model, switch):
    """In double precision: in single precision, a leaky ReLU at its kink tells rounding apart."""
    model.double()
    plain, names = deepcopy(model), list(model.state_dict())
    apply_speed_settings(model, SpeedSettings(**{switch: True}))
    assert list(model.state_dict()) == names
    (logits, grads), (plain_logits, plain_grads) = gradients(model), gradients(plain)
    torch.testing.assert_close(logits, plain_logits, atol=1e-5, rtol=1e-5)
    assert grads.keys() == plain_grads.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, plain_grads[name], atol=1e-8, rtol=1e-5)


def test_channels_last_reaches_the_features(model):
    apply_speed_settings(model, SpeedSettings(channels_last=True))
    features = model.encoder(model.stem(torch.randn(2, 1, 8, 16, 16), [model.stem_of(0)] * 2))
    assert all(x.is_contiguous(memory_format=torch.channels_last_3d) for x in features)


def test_stages_are_computed_twice_in_training_only(model):
    apply_speed_settings(model, SpeedSettings(checkpoint_activations=True))
    calls = []
    model.encoder.stages[1][0].register_forward_hook(lambda *_: calls.append(1))
    gradients(model)
    assert len(calls) == 2
    model.eval()(torch.randn(1, 1, 8, 16, 16), torch.tensor([0]))[0].sum().backward()
    assert len(calls) == 3


def test_a_copy_computes_with_its_own_weights(model):
    apply_speed_settings(model, SpeedSettings(checkpoint_activations=True, channels_last=True))
    copy = deepcopy(model)
    gradients(copy)
    assert all(p.grad is None for p in model.parameters())
    assert any(p.grad is not None for p in copy.encoder.parameters())


def test_without_a_compiler_compilation_is_refused(model, monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/compiler")
    with pytest.raises(InputError, match=r"speed\.compile: found no C\+\+ compiler"):
        apply_speed_settings(model, SpeedSettings(compile=True))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_fused_optimizer_takes_the_same_steps(name):
    config = OmegaConf.load(CONF_DIR / "optimizer" / f"{name}.yaml")
    weights = [torch.nn.Parameter(torch.arange(4.0)) for _ in range(2)]
    for weight, fused in zip(weights, (None, True), strict=True):
        optimizer = instantiate(config, fused=fused)([weight])
        for step in range(3):
            weight.grad = torch.tensor([1.0, -1, 2, step])
            optimizer.step()
    torch.testing.assert_close(weights[1], weights[0], atol=1e-7, rtol=1e-6)
    assert (weights[0].detach() - torch.arange(4.0)).abs().min() > 1e-4
