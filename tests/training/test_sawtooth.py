"""Learning rates of fine-tuning over the steps, what waits for the second tooth, and a resume in between."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from samples import make_task
from uniseg import InputError, save_model
from uniseg.run_folder import RunFolder
from uniseg.task import TaskSet
from uniseg.training.callbacks.finetuning import TrunkLater
from uniseg.training.finetuning import FineTuning
from uniseg.training.initialize import InitializedModel
from uniseg.training.modules import DownstreamModule
from uniseg.training.sawtooth import Sawtooth, ramp_then_poly, trunk_names, warm_up
from uniseg.weights.build import build_model
from uniseg.weights.transfer_report import WeightsReport

SPINE = TaskSet([make_task("spine")])
RECIPE = FineTuning(schedule="sawtooth", restore_norms=True)
TEETH = Sawtooth.of((0.025, 0.05, 0.1), 1000, 0.9)


@pytest.fixture
def base(model, tmp_path):
    return save_model(model, tmp_path / "base")


def module_of(model, base, finetuning=RECIPE):
    """A fine-tuning of the network's own tasks with another name for one: prompts and head are new."""
    tasks = TaskSet([replace(model.tasks[0], name="other"), *model.tasks[1:]])
    made = build_model(tasks, model.config)
    initialized = finetuning.initialize_model(lambda _: made, tasks, base)
    module = DownstreamModule(made, tasks=tasks, finetuning=finetuning, fresh=initialized.fresh)
    return module, initialized


def test_two_teeth():
    new, trunk = zip(*((TEETH.new_rate(step), TEETH.trunk_rate(step)) for step in range(1000)), strict=True)
    assert new[0] == pytest.approx(1 / 26)
    assert new[25] == 1 > new[49] > 0.97
    assert new[50] == pytest.approx(1 / 51)
    assert new[100] == 1 > new[101] > new[999] > 0
    assert new[999] == pytest.approx((1 / 900) ** 0.9)
    assert trunk[:50] == (0.0,) * 50
    assert trunk[50:] == new[50:]


@pytest.mark.parametrize("num_steps", [1, 2, 5, 20])
def test_short_runs_have_rates(num_steps):
    teeth = Sawtooth.of((0.025, 0.05, 0.1), num_steps, 0.9)
    assert all(0 < teeth.new_rate(step) <= 1 for step in range(num_steps))
    assert teeth.trunk_rate(num_steps - 1) > 0


def test_a_warm_up_then_the_fall():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule, found = warm_up(optimizer, 8, fraction=0.25, exponent=1), []
    for _ in range(8):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert found == pytest.approx([2 / 3, 4 / 3, 2, 2 * 5 / 6, 2 * 4 / 6, 1, 2 * 2 / 6, 2 / 6])
    assert ramp_then_poly(8, 2, 8, 1) == 0


def test_groups_are_what_is_new_and_the_trunk(model, base):
    module, initialized = module_of(model, base)
    optimizer = module.new_optimizer()
    names = {id(p): name for name, p in module.model.named_parameters()}
    by_group = {group["name"]: {names[id(p)] for p in group["params"]} for group in optimizer.param_groups}
    assert set(by_group) == {"new", "trunk"}
    assert by_group["trunk"] == {name for name in names.values() if name.startswith(("stem.", "encoder."))}
    assert {"conditioning.universal_prompt", "head.convs.0.weight"} <= initialized.fresh <= by_group["new"]
    schedule = module.new_scheduler(optimizer, 1000)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.01 / 26, 0])
    schedule.load_state_dict(schedule.state_dict())


def test_with_layer_decay_every_stage_has_its_rate(model, base):
    module, _ = module_of(model, base, replace(RECIPE, layer_decay=0.5))
    groups = module.parameter_groups()
    stages = 1 + len(model.decoder.stages) + 1 + len(model.encoder.stages) + 1
    assert len({group["name"] for group in groups}) == len(groups) == stages
    assert [group["lr"] for group in groups] == sorted((group["lr"] for group in groups), reverse=True)
    assert [group["trunk"] for group in groups] == sorted(group["trunk"] for group in groups)


def test_a_first_convolution_that_was_made_to_fit_is_new(model, base):
    assert "stem.convs.1.weight" not in trunk_names(model, frozenset(["stem.convs.1.weight"]))
    assert "stem.adn.N.weight" in trunk_names(model, frozenset(["stem.convs.1.weight"]))


def test_the_trunk_waits_and_the_second_tooth_starts_afresh(model, base):
    module, _ = module_of(model, base)
    optimizer = module.new_optimizer()
    trainer = SimpleNamespace(optimizers=[optimizer], global_step=0, estimated_stepping_batches=1000)
    module.trainer = trainer
    (callback,) = RECIPE.callbacks(None, RunFolder(Path("run")))
    assert isinstance(callback, TrunkLater)
    callback.on_fit_start(trainer, module)
    seen = {}
    for step in (0, 49, 50, 51):
        trainer.global_step = step
        optimizer.state[optimizer.param_groups[0]["params"][0]]["momentum_buffer"] = torch.ones(1)
        callback.on_train_batch_start(trainer, module, None, 0)
        free = {name.split(".")[0] for name, p in module.model.named_parameters() if p.requires_grad}
        seen[step] = (free >= {"stem", "encoder"}, len(optimizer.state))
        assert free >= {"head", "decoder", "conditioning"}
    assert seen == {0: (False, 1), 49: (False, 1), 50: (True, 0), 51: (True, 1)}


def test_a_fused_optimizer_begins_the_second_tooth_with_zeros():
    """Where the gradient scaler skips that step, it would read memory that nobody wrote."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([{"params": [weight], "trunk": True}], lr=0.1, momentum=0.9, fused=True)
    optimizer.state[weight]["momentum_buffer"] = torch.ones(3)
    callback = TrunkLater(lambda num_steps: 50)
    trainer = SimpleNamespace(optimizers=[optimizer], global_step=50)
    callback.on_fit_start(trainer, SimpleNamespace(num_steps=1000))
    callback.on_train_batch_start(trainer, None, None, 0)
    assert torch.equal(optimizer.state[weight]["momentum_buffer"], torch.zeros(3))


@pytest.mark.parametrize(
    ("scope", "new"),
    [("encoder", {"decoder", "conditioning", "head"}), ("encoder_decoder", {"conditioning", "head"}), ("all", set())],
)
def test_what_is_transferred(model, base, scope, new):
    finetuning = FineTuning(transfer=scope)
    again = build_model(model.tasks, model.config)
    initialized = finetuning.initialize_model(lambda _: again, model.tasks, base)
    assert {name.split(".")[0] for name in initialized.transfer.missing} == new
    same = {name for name, tensor in again.state_dict().items() if torch.equal(tensor, model.state_dict()[name])}
    assert {name.split(".")[0] for name in set(model.state_dict()) - same} - {"conditioning"} == new - {"conditioning"}


def test_the_weights_file_tells_of_restored_norms(model, base, tmp_path):
    _, initialized = module_of(model, base)
    assert isinstance(initialized, InitializedModel)
    assert any("norms restored" in line for line in initialized.lines())
    initialized.report.write(tmp_path / "weights.json")
    read = WeightsReport.read(tmp_path / "weights.json")
    assert read.restored == initialized.restored
    assert not any(name.startswith("conditioning") for name in read.restored.factors)


def test_a_network_that_is_extended_stays_whole():
    for change in ({"restore_norms": True}, {"transfer": "encoder"}):
        with pytest.raises(InputError, match=r"finetune\.extend"):
            FineTuning(extend=True, **change)
    with pytest.raises(InputError, match=r"finetune\.sawtooth"):
        FineTuning(sawtooth=(0.1, 0.05, 0.2))
