"""What every loss on disk must do; a new YAML is tested by being there."""

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from samples import make_task
from uniseg.environment import CONF_DIR

NAMES = sorted(path.stem for path in (CONF_DIR / "loss").glob("*.yaml"))
EXCLUSIVE = make_task()
REGIONS = make_task("tumour", classes=("background", "whole", "core"), regions=((1, 2), (2,)))
WIDE = make_task("wide", classes=tuple(f"c{k}" for k in range(6)))
KINDS = pytest.mark.parametrize("task", [EXCLUSIVE, REGIONS], ids=["exclusive", "regions"])
SIZE = (4, 6, 6)


@pytest.fixture(params=NAMES)
def loss(request):
    return instantiate(OmegaConf.load(CONF_DIR / "loss" / f"{request.param}.yaml"))


def draw(*tasks) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits with rows of padding, label values."""
    widest = max(task.num_classes for task in tasks)
    logits = torch.randn(len(tasks), widest, *SIZE)
    for b, task in enumerate(tasks):
        logits[b, task.num_classes :] = float("-inf")
    return logits, torch.stack([torch.randint(0, task.num_classes, SIZE) for task in tasks])


def test_there_are_some():
    assert {"dice_ce", "dice_focal", "tversky"} <= set(NAMES)


@KINDS
def test_a_right_prediction_costs_less_than_a_wrong_one(loss, task):
    _, label = draw(task)
    right = 20 * torch.nn.functional.one_hot(label, task.num_classes).movedim(-1, 1).float() - 10
    if task.regions:
        right[:, 1] = torch.where(label > 0, 10.0, -10.0)
    costs = [loss(logits, label, [task]) for logits in (right, right / 10, torch.zeros_like(right), -right)]
    assert all(cost.shape == (1,) for cost in costs)
    assert costs == sorted(costs)
    assert costs[0] < 0.01 < costs[2]


@KINDS
def test_a_wider_task_in_the_batch_changes_nothing_for_the_others(loss, task):
    logits, label = draw(task, WIDE, task)
    together = loss(logits, label, [task, WIDE, task])
    alone = [loss(logits[b : b + 1, : t.num_classes], label[b : b + 1], [t]) for b, t in enumerate([task, WIDE, task])]
    torch.testing.assert_close(together, torch.cat(alone))
    assert len(set(together.tolist())) == 3


@KINDS
def test_the_gradient_reaches_each_class_of_the_task_alone(loss, task):
    logits, label = draw(task, WIDE)
    logits.requires_grad_()
    loss(logits, label, [task, WIDE]).sum().backward()
    assert torch.isfinite(logits.grad).all()
    reached = logits.grad.abs().amax((2, 3, 4)) > 0
    assert reached[0].tolist() == [not task.regions, *[True] * 2, *[False] * 3]
    assert reached[1].all()


@KINDS
def test_ignored_voxels_do_not_count(loss, task):
    logits, label = draw(task)
    label[:, 2:] = -1
    torch.testing.assert_close(loss(logits, label, [task]), loss(logits[:, :, :2], label[:, :2], [task]))
    other = logits.clone()
    other[:, :, 2:] = 7
    assert loss(other, label, [task]) == loss(logits, label, [task])
    other[:, :, :2] += torch.randn_like(other[:, :, :2])
    assert loss(other, label, [task]) != loss(logits, label, [task])


@KINDS
def test_a_patch_of_ignored_voxels_alone_teaches_nothing(loss, task):
    logits, label = draw(task)
    logits.requires_grad_()
    value = loss(logits, label.fill_(-1), [task])
    value.sum().backward()
    assert value.item() == pytest.approx(0, abs=2e-3)
    assert logits.grad.abs().max() == 0


def test_half_precision_is_summed_in_float32(loss):
    logits, label = draw(EXCLUSIVE)
    mixed = loss(logits.half(), label, [EXCLUSIVE])
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, loss(logits.half().float(), label, [EXCLUSIVE]))
