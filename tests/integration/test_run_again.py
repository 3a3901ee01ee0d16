"""A command given again: resumes its own run, starts over on overwrite=true, and otherwise touches nothing."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_dir

from started import TINY, run, succeed
from uniseg import InputError, load_model
from uniseg.commands.builders import sources_of, tasks_of
from uniseg.datasets.dataset import find_datasets
from uniseg.environment import CONF_DIR
from uniseg.evaluation.run import refuse_seen
from uniseg.train import train
from uniseg.training.run import TrainingRun

NAMES = ("phantom_liver", "phantom_spleen", "phantom_whole_body_tumour")
LAST = "checkpoints/last.ckpt"
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended"),
    pytest.mark.filterwarnings("ignore:Experiment logs directory"),
]


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """A copy of a finished run, to spoil."""
    monkeypatch.chdir(trained)
    shutil.copytree(
        trained / "outputs/demo", tmp_path / "demo", ignore=shutil.ignore_patterns("evaluation*", "report", "wandb")
    )
    return tmp_path / "demo"


def composed(run_dir, *overrides):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("train", overrides=["experiment=demo", *TINY, f"run_dir={run_dir}", *overrides])


def content(folder):
    """Path -> hash of everything but the lock."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def state(run_dir):
    return torch.load(run_dir / LAST, weights_only=True)["state_dict"]


@pytest.fixture
def _deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_deterministic")
def test_tasks_in_another_order_keep_their_names(folder, tmp_path, caplog):
    """The order of the list changes nothing: the resumed weights are the same, bit for bit."""
    caplog.set_level("INFO")
    shutil.copytree(folder, tmp_path / "other")
    settings = ["ckpt_path=last", "trainer.max_epochs=3"]
    train(composed(folder, *settings))
    train(composed(tmp_path / "other", *settings, f"task=[{NAMES[2]},{NAMES[0]},{NAMES[1]}]"))
    assert f"order of {tmp_path / 'other' / LAST}: {', '.join(NAMES)}" in caplog.text
    one, two = state(folder), state(tmp_path / "other")
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    assert load_model(tmp_path / "other" / LAST).tasks.names == NAMES


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"found checkpoints/last\.ckpt; .*ckpt_path=last.*overwrite=true"),
        (["ckpt_path=last", "overwrite=true"], "one of them"),
        (["overwrite=true", "init=checkpoint", "init.checkpoint={folder}/" + LAST], "would remove"),
        (["ckpt_path=last", f"task=[{NAMES[0]}]"], "the tasks"),
        (["ckpt_path=last", "model.conditioning.fuse=false"], r"conditioning\.fuse: False; expected True"),
        (["ckpt_path=last", "optimizer=sgd"], "the optimiser"),
        (["ckpt_path=last", "data.fold=1"], "split of task 'phantom_liver'"),
        (["ckpt_path=last", "trainer.max_epochs=1"], "found 1; expected 2 or more"),
        (["init=checkpoint"], "no file, with init=checkpoint"),
        (["trainer.accelerator=cuda", "ckpt_path=last"], "No supported gpu|CUDA"),
    ],
)  # fmt: skip
def test_what_is_refused_touches_nothing(overrides, message, folder):
    before = content(folder)
    with pytest.raises(Exception, match=message) as refused:
        train(composed(folder, *[each.format(folder=folder) for each in overrides]))
    assert isinstance(refused.value, InputError) or "accelerator" in overrides[0]
    assert content(folder) == before


def test_nothing_of_an_overwritten_run_stays(folder):
    (folder / "evaluation").mkdir()
    (folder / "evaluation/metrics.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    before = json.loads((folder / "tracking.json").read_text())["id"]
    train(composed(folder, "overwrite=true", "trainer.max_epochs=1", "data.steps_per_epoch=2"))
    assert torch.load(folder / LAST, weights_only=True)["global_step"] == 2
    assert not (folder / "evaluation").exists()
    assert (folder / "notes.txt").read_text() == "mine"
    assert json.loads((folder / "tracking.json").read_text())["id"] != before
    assert "\n1," not in (folder / "logs/metrics.csv").read_text(), "no row of the second epoch of the old run"


def test_changed_lengths_are_reported_and_validated(folder, caplog):
    caplog.set_level("INFO")
    train(composed(folder, "ckpt_path=last", "trainer.max_epochs=3", "data.steps_per_epoch=3"))
    assert "data.steps_per_epoch 4 -> 3, trainer.max_epochs 2 -> 3" in caplog.text
    saved = torch.load(folder / LAST, weights_only=True)
    assert saved["global_step"] == 11
    assert saved["lr_schedulers"][0]["last_epoch"] == 11
    rows = list(csv.DictReader((folder / "logs/metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows if row["val/pseudo_dice"]] == ["0", "1", "2"]


def test_what_was_seen_stays_known(folder, tmp_path):
    """Fine-tuned on another fold, the network is scored on neither, under whatever name of a task."""
    settings = [
        "init=checkpoint",
        f"init.checkpoint={folder / LAST}",
        "data.fold=1",
        "trainer.max_epochs=1",
        "data.steps_per_epoch=1",
        "data.val_steps=1",
    ]
    train(composed(tmp_path / "tuned", *settings))
    model = load_model(tmp_path / "tuned" / LAST)
    before = load_model(folder / LAST).provenance.data["phantom_spleen"]
    after = model.provenance.data["phantom_spleen"]
    assert set(after["train"]) > set(before["train"])
    assert set(after["val"]) > set(before["val"])
    assert set(after["patients"]["train"]) == {f"phantom_spleen/{case}" for case in after["train"]}
    config = composed(tmp_path / "tuned")
    (dataset,) = [
        each for each in find_datasets(tasks_of(config), sources_of(config)) if each.task.name == "phantom_spleen"
    ]
    refuse_seen(model.provenance.data, dataset, 0, "test", "x")
    for fold in (0, 1):
        with pytest.raises(InputError, match=r"val case '.*' of 'phantom_spleen' in its train split"):
            refuse_seen(model.provenance.data, dataset, fold, "val", "x")
    model.provenance = replace(model.provenance, data={"organs": after})
    with pytest.raises(
        InputError, match=r"whose patient 'phantom_spleen/.*' is in its train split of 'organs'.*patient_namespace"
    ):
        refuse_seen(model.provenance.data, dataset, 0, "val", "x")


def test_a_damaged_case_is_one_line_out_of_a_reader(prepared, tmp_path):
    shutil.copytree(prepared / "outputs/cache", tmp_path / "cache")
    for path in (tmp_path / "cache").rglob("image.b2nd"):
        path.write_bytes(b"")
    done = run(
        "train",
        "experiment=demo",
        *TINY,
        f"paths.cache={tmp_path / 'cache'}",
        f"run_dir={tmp_path}",
        "data.num_workers=1",
        cwd=prepared,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ") and str(tmp_path / "cache") in line]


def test_an_interrupt_before_the_first_step_is_one_line(prepared, tmp_path, monkeypatch):
    def stop(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingRun, "start", stop)
    done = run("train", "experiment=demo", *TINY, f"run_dir={tmp_path}", cwd=prepared)
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1].startswith("Interrupted")
    assert "Traceback" not in done.stderr


def test_weights_that_are_not_finite_are_one_line(prepared, tmp_path):
    done = run("train", "experiment=demo", *TINY, f"run_dir={tmp_path}", "optimizer.lr=1e30", cwd=prepared)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}: found ")
    assert "lower optimizer.lr" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_weights_and_biases_knows_the_run_again(trained, tmp_path):
    """Training, a requeue, an evaluation, a report are one run, which holds configuration and scores; jobs of a sweep
    are others.
    """
    settings = ["experiment=demo", *TINY, "logger=wandb", "name=tracked"]
    succeed("train", *settings, cwd=trained)
    succeed("train", *settings, "ckpt_path=last", "trainer.max_epochs=3", cwd=trained)
    succeed("evaluate", *settings, "rules.surfaces=false", cwd=trained)
    succeed("report", "run=outputs/tracked", "logger=wandb", f"output={tmp_path}", cwd=trained)
    folder = trained / "outputs/tracked"
    tracking = json.loads((folder / "tracking.json").read_text())
    parts = sorted((folder / "wandb").glob("offline-run-*"))
    assert [path.name.rpartition("-")[2] for path in parts] == [tracking["id"]] * 4
    logged = [next(path.glob("run-*.wandb")).read_bytes() for path in parts]
    assert all(text in logged[0] for text in (b"steps_per_epoch", b"trained", b"cases"))
    assert all(text in logged[2] for text in (b"test/dice", b"phantom_spleen"))
    succeed("train", "-m", *settings, "name=swept", "trainer.max_epochs=1", "optimizer.lr=0.01,0.02", cwd=trained)
    jobs = [json.loads((trained / f"outputs/swept/sweep/{job}/tracking.json").read_text()) for job in (0, 1)]
    assert jobs[0]["id"] != jobs[1]["id"]
    assert [job["group"] for job in jobs] == ["swept", "swept"]
    assert all(job["name"].startswith(f"swept {number}: ") for number, job in enumerate(jobs))
    for number, job in enumerate(jobs):
        (part,) = (trained / f"outputs/swept/sweep/{number}/wandb").glob("offline-run-*")
        assert part.name.endswith(job["id"])
