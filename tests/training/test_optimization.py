"""The learning rate over the steps."""

import pytest
import torch

from uniseg.training.optimization import poly


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
