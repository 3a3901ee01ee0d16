"""The learning rate over the steps."""

from functools import partial

import pytest
import torch

from networks import TASKS, build
from samples import make_task
from uniseg.training.finetuning import FineTuning
from uniseg.training.modules import DownstreamModule, UpstreamModule
from uniseg.training.optimization import Optimization, optimization_of, poly


def rates(num_steps, **settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    schedule, found = poly(optimizer, num_steps, **settings), []
    for _ in range(num_steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_published_rate_is_constant_inside_an_epoch():
    found = rates(30, exponent=0.9, warmup_steps=0, hold_steps=10)
    assert found == pytest.approx([0.01] * 10 + [0.01 * (2 / 3) ** 0.9] * 10 + [0.01 * (1 / 3) ** 0.9] * 10)


def test_warm_up_then_every_step():
    found = rates(10, exponent=1, warmup_steps=3, hold_steps=1)
    assert found == pytest.approx([0.0025, 0.005, 0.0075, 0.007, 0.006, 0.005, 0.004, 0.003, 0.002, 0.001])


def test_that_of_a_checkpoint_names_torchs_classes_or_is_the_default():
    settings = {
        "optimizer._target_": "torch.optim.AdamW", "optimizer._partial_": True, "optimizer.lr": 0.5,
        "loss._target_": "uniseg.losses.dice_ce.DiceCELoss", "loss.dice_weight": 2, "loss.ce_weight": 3,
        "scheduler._target_": "os.system", "scheduler.command": "true",
    }  # fmt: skip
    made = optimization_of(settings)
    assert (made.optimizer.func, made.optimizer.keywords) == (torch.optim.AdamW, {"lr": 0.5})
    assert (made.loss.dice_weight, made.loss.ce_weight) == (2, 3)
    assert made.scheduler.func is poly
    for target in ("os.system", "torch.optim.lr_scheduler", "torch.optim.Adamm", "torch.hub.load"):
        assert optimization_of({"optimizer._target_": target}).optimizer.func is torch.optim.SGD


def test_prompts_have_a_rate_of_their_own_where_it_differs():
    optimization = Optimization(optimizer=partial(torch.optim.AdamW, lr=0.01))
    same, faster = (
        UpstreamModule(build(f"model.conditioning.lr_factor={factor}"), tasks=TASKS, optimization=optimization)
        for factor in (1, 5)
    )
    (group,) = same.new_optimizer().param_groups
    rest, prompts = faster.new_optimizer().param_groups
    assert [p.shape for p in prompts["params"]] == [faster.model.conditioning.universal_prompt.shape]
    assert (rest["lr"], prompts["lr"]) == (0.01, 0.05)
    assert len(rest["params"]) + 1 == len(group["params"]) == len(list(same.model.parameters()))


@pytest.mark.parametrize("schedule", ["plain", "sawtooth"])
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_prompts_have_it_in_fine_tuning_too(decay, schedule):
    optimization = Optimization(optimizer=partial(torch.optim.AdamW, lr=0.01))
    model = build("model.conditioning.lr_factor=5")
    finetuning = FineTuning(layer_decay=decay, schedule=schedule)
    module = DownstreamModule(model, tasks=TASKS, finetuning=finetuning, optimization=optimization)
    groups = module.new_optimizer().param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    distance = 1 + len(model.decoder.stages)
    assert rates[id(model.conditioning.universal_prompt)] == pytest.approx(0.05 * decay**distance)
    assert rates[id(model.conditioning.fuse[0].conv.weight)] == pytest.approx(0.01 * decay**distance)
    assert sum(len(group["params"]) for group in groups) == len(rates) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("choice", "key", "weight"),
    [
        ("fuse_prompt", "", "prompt"),
        ("film", "", "vector"),
        ("tokens", "", "token"),
        ("combined", "parts.film.", "film.vector"),
    ],
)
def test_what_an_added_task_brings_has_it_too(choice, key, weight):
    model = build(f"model/conditioning={choice}", f"model.conditioning.{key}lr_factor=5")
    model.extend([make_task("gallbladder")], adapter_channels=2)
    model.freeze_base()
    optimization = Optimization(optimizer=partial(torch.optim.AdamW, lr=0.01))
    finetuning = FineTuning(extend=True, trained="added")
    module = DownstreamModule(model, tasks=model.tasks, finetuning=finetuning, optimization=optimization)
    rates = {id(p): group["lr"] for group in module.new_optimizer().param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert rates.pop(id(named[f"added.0.own.{weight}"])) == 0.05
    assert set(rates.values()) == {0.01}
