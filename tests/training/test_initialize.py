"""Which network a run begins with, what of it trains, how far the old answers change."""

import copy
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from samples import make_task
from uniseg import InputError, UniSegModel, load_model, save_model
from uniseg.evaluation.forgetting import TaskChange
from uniseg.run_folder import RunFolder
from uniseg.task import TaskSet
from uniseg.training.callbacks.finetuning import ForgettingReporter, HeadsFirst, changes_between
from uniseg.training.finetuning import FineTuning, stages_from_head
from uniseg.training.modules import DownstreamModule
from uniseg.training.optimization import Optimization

NEW = TaskSet([make_task("heart", ("MR", "CT"), ("background", "heart"))])
FULL = FineTuning(adapter_channels=2)
EXTEND_FULL = replace(FULL, extend=True)
PROMPT_ONLY = replace(EXTEND_FULL, trained="added")


def never(tasks: TaskSet) -> UniSegModel:
    raise AssertionError


@pytest.fixture
def base(model, tmp_path):
    return save_model(model, tmp_path / "base")


def test_only_what_is_new_trains(base):
    first = PROMPT_ONLY.initialize_model(never, NEW, base).model
    assert {name for name, p in first.named_parameters() if p.requires_grad} == {
        name for name, _ in first.named_parameters() if name.startswith("added.0.")
    }
    save_model(first, base)
    second = PROMPT_ONLY.initialize_model(never, TaskSet([make_task("spine")]), base).model
    assert {name.split(".")[1] for name, p in second.named_parameters() if p.requires_grad} == {"1"}
    assert all(
        p.requires_grad
        for p in EXTEND_FULL.initialize_model(never, TaskSet([make_task("spine")]), base).model.parameters()
    )


def test_old_tasks_may_come_along_where_all_trains(base, model):
    both = TaskSet([*NEW, model.tasks[0]])
    grown = EXTEND_FULL.initialize_model(never, both, base).model
    assert grown.tasks.names == ("liver", "prostate", "brain", "heart")
    with pytest.raises(InputError, match="liver, which the network"):
        PROMPT_ONLY.initialize_model(never, both, base)


def test_what_does_not_go_together_is_refused(base, model):
    with pytest.raises(InputError, match="add init=checkpoint"):
        PROMPT_ONLY.initialize_model(never, NEW, None)
    with pytest.raises(InputError, match=r"liver.*another definition"):
        EXTEND_FULL.initialize_model(never, TaskSet([*NEW, make_task(spacing_mm=(9, 9, 9))]), base)
    with pytest.raises(InputError, match="new tasks to add"):
        EXTEND_FULL.initialize_model(never, model.tasks, base)
    with pytest.raises(InputError, match=r"finetune\.trained"):
        replace(FULL, trained="added")


def test_without_a_checkpoint_the_network_is_new(model):
    assert FULL.initialize_model({model.tasks: model}.get, model.tasks, None).model is model


@pytest.fixture
def pair(base):
    return load_model(base), lambda finetuning: finetuning.initialize_model(never, NEW, base).model


def test_what_was_frozen_has_not_moved(pair):
    before, start = pair
    after = start(PROMPT_ONLY)
    for p in after.added.parameters():
        p.data += 1
    changes = changes_between(before, after, torch.randn(2, 1, 2, 8, 16, 16)).tasks
    assert changes == {name: TaskChange(0.0, True, 2 * 8 * 16 * 16, 0) for name in before.tasks.names}
    assert after.training


def test_a_moved_class_is_measured(pair):
    """The head is made to answer the background, but for one logit of one task's own class."""
    before, start = pair
    for model in (before, after := start(EXTEND_FULL)):
        for conv in model.head.convs:
            torch.nn.init.zeros_(conv.weight)
    with torch.no_grad():
        after.head.convs[0].weight[3] = 1  # the brain's class alone has a row 3
    changes = changes_between(before, after, torch.randn(1, 1, 2, 8, 16, 16)).tasks
    assert changes["liver"] == TaskChange(0.0, True, 8 * 16 * 16, 0)
    assert changes["brain"].largest > 0
    assert not changes["brain"].identical
    assert 0 < changes["brain"].num_changed_voxels < 8 * 16 * 16


def test_a_frozen_encoder_keeps_its_weights(base, model):
    frozen_encoder = replace(FULL, freeze_encoder=True)
    initialized = frozen_encoder.initialize_model(lambda tasks: copy.deepcopy(model), model.tasks, base)
    assert initialized.transfer.coverage == 1
    frozen = {name.split(".")[0] for name, p in initialized.model.named_parameters() if not p.requires_grad}
    assert frozen == {"stem", "encoder"}
    assert not any(
        p.requires_grad for part in (initialized.model.stem, initialized.model.encoder) for p in part.parameters()
    )


def test_learning_rates_fall_with_the_distance_from_the_head(model):
    module = downstream(model, 0.5)
    groups = module.parameter_groups()
    stages = stages_from_head(model)
    assert [group["lr"] for group in groups] == [0.5**i for i in range(len(stages))]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert {id(p) for p in groups[-1]["params"]} == {id(p) for p in model.stem.parameters()}
    assert {id(p) for p in groups[1]["params"]} == {id(p) for p in model.decoder.stages[0].parameters()}
    model.encoder.requires_grad_(False)
    assert len(module.parameter_groups()) == len(stages) - len(model.encoder.stages)
    (group,) = downstream(model, 1.0).parameter_groups()
    assert len(group["params"]) == len([p for p in model.parameters() if p.requires_grad])


def downstream(model, decay):
    optimization = Optimization(optimizer=partial(torch.optim.SGD, lr=1.0))
    return DownstreamModule(
        model, tasks=model.tasks, finetuning=FineTuning(layer_decay=decay), optimization=optimization
    )


def test_the_head_trains_alone_at_first(model):
    """Also after a resume, which begins with all weights free."""
    module, callback = downstream(model, 1.0), HeadsFirst(3)
    model.stem.requires_grad_(False)
    callback.on_fit_start(None, module)
    for step, free in (
        (0, {"head"}),
        (2, {"head"}),
        (3, {"head", "encoder", "decoder", "conditioning"}),
        (9, {"head", "encoder", "decoder", "conditioning"}),
    ):
        callback.on_train_batch_start(SimpleNamespace(global_step=step), module, None, 0)
        assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == free


def test_the_head_of_an_added_task_trains_at_first_too(base):
    model = PROMPT_ONLY.initialize_model(never, NEW, base).model
    module, callback = downstream(model, 1.0), HeadsFirst(3)
    callback.on_fit_start(None, module)
    callback.on_train_batch_start(SimpleNamespace(global_step=0), module, None, 0)
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {"added"}
    task = torch.tensor([model.tasks.position("heart")])
    model(torch.randn(1, 2, 8, 16, 16), task)[0].sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.added[-1].parameters())


def test_an_extended_network_may_keep_its_encoder(base):
    model = replace(EXTEND_FULL, freeze_encoder=True).initialize_model(never, NEW, base).model
    assert {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad} == {"stem", "encoder"}


def test_a_sawtooth_with_heads_first_is_refused():
    with pytest.raises(InputError, match=r"finetune\.heads_first_steps: found 3 with schedule=sawtooth"):
        FineTuning(schedule="sawtooth", heads_first_steps=3)


def test_nothing_of_new_weights_is_frozen_or_late():
    finetuning = FineTuning(freeze_encoder=True, heads_first_steps=3, restore_norms=True)
    assert finetuning.of_new_weights == FineTuning()


def test_what_watches_a_fine_tuning(base, tmp_path):
    def kinds(finetuning):
        callbacks = finetuning.callbacks(lambda: load_model(base), RunFolder(tmp_path))
        return [type(callback) for callback in callbacks]

    assert kinds(FULL) == []
    assert kinds(replace(FULL, heads_first_steps=3)) == [HeadsFirst]
    assert kinds(replace(PROMPT_ONLY, heads_first_steps=3)) == [ForgettingReporter, HeadsFirst]
