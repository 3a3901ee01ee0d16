"""A run resumes from its own checkpoint alone, with the settings that it is given."""

import csv
import os
from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning import Callback

from samples import make_task, small_model
from small_runs import STEPS_PER_EPOCH, small_run
from uniseg import InputError
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.conditioning.one_hot import OneHot
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.dynamic import DynamicHead
from uniseg.models.heads.static import StaticHead
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import RunFolder
from uniseg.task import Normalization, TaskSet
from uniseg.training.resume import ResumePoint, epochs_done, find_resume_point, follow_settings, read_resume_point
from uniseg.training.run_record import KEY as RECORD
from uniseg.training.run_record import RunRecord, class_name
from uniseg.weights.checkpoint import KEY, describe_model

TASKS = TaskSet([make_task(), make_task("spleen", classes=("background", "spleen"))])
FORMER_SPLITS = {name: {"train": ["a", "b"], "dev": ["c"], "test": ["d"]} for name in TASKS.names}
SPLITS = {name: {"train": ["a", "b"], "val": ["c"], "test": ["d"]} for name in TASKS.names}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended"),
]


FACTS = ResumePoint(None, 0, 0, 0, TASKS, {}, {}, None, [], {})


class Steps(Callback):
    """Keeps which steps a run does."""

    def __init__(self) -> None:
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.steps.append(batch.step)


def shapes_of(model):
    return {f"model.{name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def record_of(model, optimizer, **changes):
    return replace(
        RunRecord(model.tasks.names, SPLITS, class_name(optimizer), {"seed": 0, "data.batch_size": 2}), **changes
    )


def content_of(model, optimizer, step=6, record=True):
    """A checkpoint in the middle of the second epoch of four steps."""
    batches = {"current": {"ready": step % STEPS_PER_EPOCH}, "is_last_batch": False}
    loop = {"epoch_loop.batch_progress": batches, "epoch_progress": {"current": {"ready": step // STEPS_PER_EPOCH + 1}}}
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    return {
        KEY: describe_model(model, state)
        | {"data": SPLITS if record else FORMER_SPLITS}
        | ({RECORD: record_of(model, optimizer).to_dict()} if record else {}),
        "state_dict": state,
        "global_step": step,
        "loops": {"fit_loop": loop},
        "optimizer_states": [optimizer.state_dict()],
    }


@pytest.fixture
def model():
    return small_model(TASKS)


@pytest.fixture
def saved(model, tmp_path) -> ResumePoint:
    torch.save(content_of(model, torch.optim.SGD(model.parameters(), lr=0.1)), tmp_path / "last.ckpt")
    return read_resume_point(tmp_path / "last.ckpt")


@pytest.fixture
def older(model, tmp_path) -> ResumePoint:
    """Without a record, as earlier versions wrote it."""
    torch.save(content_of(model, torch.optim.SGD(model.parameters(), lr=0.1), record=False), tmp_path / "older.ckpt")
    return read_resume_point(tmp_path / "older.ckpt")


def require_same(saved, model, optimizer=None, **changes):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    saved.require_same(model, shapes_of(model), optimizer, record_of(model, optimizer, **changes))


@pytest.mark.parametrize("kind", ["saved", "older"])
def test_the_same_run_goes_on(kind, model, request):
    run = request.getfixturevalue(kind)
    require_same(run, model)
    assert (run.step, run.epoch, run.epoch_steps) == (6, 1, 2)


@pytest.mark.parametrize("kind", ["saved", "older"])
def test_the_order_of_the_tasks_is_that_of_the_checkpoint(kind, request):
    run = request.getfixturevalue(kind)
    assert run.order(["spleen", "liver"], added=False) == ["liver", "spleen"]
    for names in (["spleen"], ["spleen", "liver", "lung"]):
        with pytest.raises(InputError, match=f"the tasks: {', '.join(names)}; expected liver, spleen"):
            run.order(names, added=False)


def other_tasks(**changes):
    return small_model(TaskSet([replace(TASKS[0], **changes), TASKS[1]]))


@pytest.mark.parametrize("kind", ["saved", "older"])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: small_model(TaskSet(reversed(TASKS))), "network's tasks: spleen, liver; expected liver, spleen"),
        (lambda: other_tasks(classes=("background", "tumour", "liver")),
            "classes of task 'liver': .*tumour.*expected .*'liver', 'tumour'"),
        (lambda: other_tasks(regions=((1, 2), (2,))), "regions of task 'liver'"),
        (lambda: other_tasks(spacing_mm=(3, 1, 1)), r"spacing_mm of task 'liver': \[3, 1, 1\]; expected \[2, 1, 1\]"),
        (lambda: other_tasks(modalities=("MR",), normalization=(Normalization("zscore", masked=True),)),
            "modalities of task 'liver'"),
        (lambda: other_tasks(normalization=(Normalization("window", lower=-100, upper=325),)),
            "normalization of task 'liver'.*-100.*expected.*-325"),
        (lambda: other_network(channels=[4, 8, 8]), r"encoder.channels: \[4, 8, 8\]; expected \[6, 8, 8\]"),
        (lambda: other_network(conditioning=OneHot, head=partial(DynamicHead, width=2)), "the model's conditioning"),
    ],
)  # fmt: skip
def test_another_network_is_refused(kind, other, message, request):
    with pytest.raises(InputError, match=f"{message}.*ckpt, as in|{message}.*as in .*ckpt"):
        require_same(request.getfixturevalue(kind), other())


def other_network(channels=(6, 8, 8), **parts):
    encoder = partial(
        UNetEncoder, channels=list(channels), strides=[[1, 2, 2], [2, 2, 2]], kernels=[[1, 3, 3], [3, 3, 3], [3, 3, 3]]
    )
    same = {
        "conditioning": partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True),
        "head": StaticHead,
    }
    return UniSegModel(TASKS, patch_size=(8, 16, 16), encoder=encoder, **same | parts)


@pytest.mark.parametrize("kind", ["saved", "older"])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda model: torch.optim.AdamW(model.parameters()), "the optimiser: torch.optim.adamw.AdamW"),
        (lambda model: torch.optim.SGD([{"params": [p]} for p in model.parameters()], lr=0.1),
            r"parameters by group: \[1, 1"),
        (lambda model: torch.optim.SGD(list(model.parameters())[1:], lr=0.1), "parameters by group"),
    ],
)  # fmt: skip
def test_another_optimiser_is_refused(kind, other, message, model, request):
    with pytest.raises(InputError, match=message):
        require_same(request.getfixturevalue(kind), model, other(model))


@pytest.mark.parametrize("kind", ["saved", "older"])
@pytest.mark.parametrize(
    ("split", "cases", "message"),
    [
        ("train", ["a", "b", "d"], "train split of task 'spleen', with case 'd': in it; expected not in it"),
        ("val", [], "val split of task 'spleen', with case 'c': not in it; expected in it"),
        ("test", ["d", "e"], "test split of task 'spleen', with case 'e'"),
    ],
)  # fmt: skip
def test_other_splits_are_refused(kind, split, cases, message, model, request):
    splits = SPLITS | {"spleen": SPLITS["spleen"] | {split: cases}}
    with pytest.raises(InputError, match=message):
        require_same(request.getfixturevalue(kind), model, splits=splits)


def test_a_checkpoint_without_a_training_is_refused(model, tmp_path):
    content = content_of(model, torch.optim.SGD(model.parameters(), lr=0.1))
    for key in ("loops", "optimizer_states"):
        torch.save({name: value for name, value in content.items() if name != key}, tmp_path / "half.ckpt")
        with pytest.raises(InputError, match=r"half\.ckpt: found no state of a training .*init=checkpoint"):
            read_resume_point(tmp_path / "half.ckpt")


def test_last_is_the_one_with_the_most_steps(model, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for number, (name, step) in enumerate({"b.ckpt": 9, "last.ckpt": 3}.items()):
        torch.save(content_of(model, torch.optim.SGD(model.parameters(), lr=0.1), step), folder / name)
        os.utime(folder / name, (number, number))
    (folder / "c.ckpt").write_bytes(b"half")
    assert find_resume_point("last", RunFolder(tmp_path)).path == folder / "b.ckpt"
    for name in ("b.ckpt", "last.ckpt"):
        (folder / name).unlink()
    with pytest.raises(InputError, match=r"c\.ckpt"):
        find_resume_point("last", RunFolder(tmp_path))
    (folder / "c.ckpt").unlink()
    assert find_resume_point("last", RunFolder(tmp_path)) is None


def test_changed_settings_are_reported(saved, older):
    assert saved.changed({"seed": 0, "data.batch_size": 4, "new": True}) == [
        "data.batch_size 2 -> 4",
        "new None -> True",
    ]
    assert older.changed({"seed": 1}) == []


def test_names_of_an_older_version_are_no_change(model):
    older = {"strategy.layer_decay": 1.0, "scheduler._target_": "uniseg.training.schedules.poly"}
    now = {"finetune.layer_decay": 1.0, "scheduler._target_": "uniseg.training.optimization.poly"}
    values = record_of(model, torch.optim.SGD(model.parameters())).to_dict() | {"settings": older}
    assert RunRecord.from_dict(values).changed(now) == []


def test_settings_of_the_optimiser_are_those_of_the_run(model):
    """A rate keeps its place in the schedule: half of the first one was left."""
    before = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    torch.optim.lr_scheduler.LambdaLR(before, lambda step: 0.5)
    state, unchanged = (
        {"optimizer_states": [before.state_dict()], "lr_schedulers": [{"base_lrs": [0.2]}]} for _ in range(2)
    )
    follow_settings(state, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5, weight_decay=0.1))
    group = state["optimizer_states"][0]["param_groups"][0]
    assert (group["initial_lr"], group["momentum"], group["weight_decay"]) == (0.01, 0.5, 0.1)
    assert group["lr"] == pytest.approx(0.005)
    assert state["lr_schedulers"][0]["base_lrs"] == [0.01]
    follow_settings(unchanged, torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9))
    assert unchanged["optimizer_states"][0] == before.state_dict()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three epochs of four steps, saved after every second step, before the validation, at the end of the epoch."""
    return small_run(tmp_path_factory.mktemp("whole"), every_n_train_steps=2).fit()


def test_what_is_done_is_read_off_the_loop(whole):
    loops = [torch.load(path, weights_only=True)["loops"]["fit_loop"] for path in whole.copies.paths]
    assert [epochs_done(loop) for loop in loops] == [
        (0, 2),
        (1, 0),
        (1, 0),
        (1, 2),
        (2, 0),
        (2, 0),
        (2, 2),
        (3, 0),
        (3, 0),
    ]


@pytest.mark.parametrize("steps_per_epoch", [3, 5, 6])
@pytest.mark.parametrize("number", range(7))
def test_epochs_of_another_length_are_counted_and_validated(number, steps_per_epoch, tmp_path, whole):
    path = whole.copies.paths[number]
    content = torch.load(path, weights_only=True)
    epoch, epoch_steps = epochs_done(content["loops"]["fit_loop"])
    again = small_run(tmp_path, callback := Steps()).fit(path, steps_per_epoch)
    assert callback.steps == list(
        range(content["global_step"], content["global_step"] + (3 - epoch) * steps_per_epoch - epoch_steps)
    )
    run = replace(FACTS, step=content["global_step"], epoch=epoch, epoch_steps=epoch_steps)
    assert (
        3 * steps_per_epoch + run.extra_steps(steps_per_epoch, 1)
        == again.trainer.global_step
        == content["global_step"] + len(callback.steps)
    )
    with again.log.open() as file:
        validated = [int(row["epoch"]) for row in csv.DictReader(file) if row.get("val/loss")]
    is_ahead_of_validation = number in (1, 4)
    assert sorted(set(validated)) == list(range(epoch - is_ahead_of_validation, 3))


def test_more_done_than_there_is_to_do_is_refused():
    run = replace(FACTS, path="x", step=6, epoch=1, epoch_steps=2)
    run.require_steps_left(max_epochs=-1, steps_per_epoch=3)
    run.require_steps_left(max_epochs=1, steps_per_epoch=3)
    with pytest.raises(InputError, match=r"trainer\.max_epochs: found 0; expected 1 or more"):
        run.require_steps_left(max_epochs=0, steps_per_epoch=3)
    with pytest.raises(InputError, match=r"data\.steps_per_epoch: found 2; expected more than 2"):
        run.require_steps_left(max_epochs=3, steps_per_epoch=2)
