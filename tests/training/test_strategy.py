"""Which network a run begins with, what of it trains, how far the old answers move."""

from functools import partial

import pytest
import torch

from samples import make_task
from uniseg import InputError, UniSegModel, load_model, save_model
from uniseg.task import TaskSet
from uniseg.training.old_tasks import Change, changes_between
from uniseg.training.strategy import Strategy, start_model

NEW = TaskSet([make_task("heart", ("MR", "CT"), ("background", "heart"))])
PROMPT_ONLY, EXTEND_FULL, FULL = Strategy(True, 2, "added"), Strategy(True, 2, "all"), Strategy(False, 0, "all")


def never(tasks: TaskSet) -> UniSegModel:
    raise AssertionError


@pytest.fixture
def base(model, tmp_path):
    return save_model(model, tmp_path / "base")


def test_only_what_is_new_trains(base):
    first = start_model(never, NEW, base, PROMPT_ONLY)
    assert {name for name, p in first.named_parameters() if p.requires_grad} == {name for name, _ in first.named_parameters() if name.startswith("added.0.")}
    save_model(first, base)
    second = start_model(never, TaskSet([make_task("spine")]), base, PROMPT_ONLY)
    assert {name.split(".")[1] for name, p in second.named_parameters() if p.requires_grad} == {"1"}
    assert all(p.requires_grad for p in start_model(never, TaskSet([make_task("spine")]), base, EXTEND_FULL).parameters())


def test_old_tasks_may_come_along_where_all_trains(base, model):
    both = TaskSet([*NEW, model.tasks[0]])
    grown = start_model(never, both, base, EXTEND_FULL)
    assert grown.tasks.names == ("liver", "prostate", "brain", "heart")
    with pytest.raises(InputError, match="liver, which the network"):
        start_model(never, both, base, PROMPT_ONLY)


def test_what_does_not_go_together_is_refused(base, model):
    with pytest.raises(InputError, match="add init=checkpoint"):
        start_model(never, NEW, None, PROMPT_ONLY)
    with pytest.raises(InputError, match=r"liver.*another definition"):
        start_model(never, TaskSet([*NEW, make_task(spacing_mm=(9, 9, 9))]), base, EXTEND_FULL)
    with pytest.raises(InputError, match="new tasks to add"):
        start_model(never, model.tasks, base, EXTEND_FULL)
    with pytest.raises(InputError, match=r"strategy\.trained"):
        Strategy(False, 2, "added")


def test_without_a_checkpoint_the_network_is_new(model):
    assert start_model({model.tasks: model}.get, model.tasks, None, FULL) is model


@pytest.fixture
def pair(base):
    return load_model(base), partial(start_model, never, NEW, base)


def test_what_was_frozen_has_not_moved(pair):
    before, start = pair
    after = start(PROMPT_ONLY)
    for p in after.added.parameters():
        p.data += 1
    changes = changes_between(before, after, torch.randn(2, 1, 2, 8, 16, 16))
    assert changes == {name: Change(0.0, True, 2 * 8 * 16 * 16, 0) for name in before.tasks.names}
    assert after.training


def test_a_moved_class_is_measured(pair):
    """The head is made to answer the background, but for one logit of one task's own class."""
    before, start = pair
    for model in (before, after := start(EXTEND_FULL)):
        for conv in model.head.convs:
            torch.nn.init.zeros_(conv.weight)
    with torch.no_grad():
        after.head.convs[0].weight[3] = 1  # the brain's class alone has a row 3
    changes = changes_between(before, after, torch.randn(1, 1, 2, 8, 16, 16))
    assert changes["liver"] == Change(0.0, True, 8 * 16 * 16, 0)
    assert changes["brain"].largest > 0
    assert not changes["brain"].identical
    assert 0 < changes["brain"].moved < 8 * 16 * 16
