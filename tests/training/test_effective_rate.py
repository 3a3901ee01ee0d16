"""The effective learning rate by hand."""

from types import SimpleNamespace

import pytest
import torch

from networks import TASKS, build
from uniseg.training.callbacks.effective_rate import EffectiveRate


class Logged(SimpleNamespace):
    def log(self, name, value, **_):
        self.values[name] = float(value)


@pytest.fixture
def run():
    """A network with gradients, its optimiser with two rates, a trainer at the last step ahead of a validation."""
    model = build(tasks=TASKS)
    image = torch.randn(2, 1, *model.patch_size)
    model(image, torch.tensor([0, 1]))[0][:, :2].square().mean().backward()
    groups = [{"params": list(model.encoder.parameters()), "lr": 0.5}]
    groups += [{"params": [p for name, p in model.named_parameters() if not name.startswith("encoder")], "lr": 0.1}]
    trainer = SimpleNamespace(is_last_batch=True, sanity_checking=False, precision_plugin=None)
    return Logged(model=model, values={}), torch.optim.SGD(groups), trainer


def test_it_is_the_rate_times_the_gradient_over_the_weight(run):
    module, optimizer, trainer = run
    callback = EffectiveRate()
    callback.on_before_optimizer_step(trainer, module, optimizer)
    callback.on_validation_epoch_end(trainer, module)
    conv = module.model.encoder.stages[0][0].conv.weight
    expected = 0.5 * float(conv.grad.norm() / conv.detach().norm())
    assert module.values["rates/effective/encoder.0"] == pytest.approx(expected)
    assert module.values["rates/lr/decoder.1"] == pytest.approx(0.1)
    stage = module.model.decoder.stages[0]
    weights = [stage.up_half.weight, stage.skip_half.weight, stage.conv.conv.weight]
    norm = float(torch.stack([weight.detach().norm() for weight in weights]).norm())
    assert module.values["norms/weight/decoder.0"] == pytest.approx(norm)


def test_weights_of_another_size_turn_by_another_angle(run):
    """Scaled by 4, the function is the same, the gradient a quarter, the effective rate a sixteenth."""
    module, optimizer, trainer = run
    values = []
    for factor in (1, 4):
        conv = module.model.encoder.stages[1][0].conv.weight
        other = module.model.encoder.stages[1][1].conv.weight
        with torch.no_grad():
            for weight in (conv, other):
                weight.mul_(factor)
        module.model.zero_grad()
        image = torch.randn(2, 1, *module.model.patch_size, generator=torch.Generator().manual_seed(1))
        module.model(image, torch.tensor([0, 1]))[0][:, :2].square().mean().backward()
        callback = EffectiveRate()
        callback.on_before_optimizer_step(trainer, module, optimizer)
        callback.on_validation_epoch_end(trainer, module)
        values.append(module.values["rates/effective/encoder.1"])
    assert values[0] / values[1] == pytest.approx(16, rel=0.01)


def test_other_steps_are_not_looked_at(run):
    module, optimizer, trainer = run
    trainer.is_last_batch = False
    callback = EffectiveRate()
    callback.on_before_optimizer_step(trainer, module, optimizer)
    callback.on_validation_epoch_end(trainer, module)
    assert not any(name.startswith("rates/") for name in module.values)
    assert module.values["norms/weight/stem"] > 0
