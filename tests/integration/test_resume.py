"""Killed, stopped, out of room: what a user finds, what resuming gives."""

import csv
import resource
import signal
import subprocess

import pytest
import torch

from started import PYTHON, TINY, run, signal_at, succeed, train

SETTINGS = [
    "experiment=demo", *TINY, "trainer.max_epochs=3", "trainer.deterministic=true",
    "callbacks.checkpoint.every_n_train_steps=3", "data.num_workers=1",
]  # fmt: skip
STEPS, VAL_STEPS = 4, 3


def checkpoint(folder, name):
    return folder / "outputs" / name / "checkpoints" / "last.ckpt"


def assert_same_end(folder, name, other):
    one, two = (torch.load(checkpoint(folder, each), weights_only=True)["state_dict"] for each in (name, other))
    assert all(torch.equal(one[key], two[key]) for key in one)
    one, two = (means(folder, each) for each in (name, other))
    assert one == two
    assert len(one) == 2 * 3


def means(folder, name):
    with (folder / "outputs" / name / "logs/metrics.csv").open() as file:
        return {
            (row["epoch"], key): row[key]
            for row in csv.DictReader(file)
            for key in ("train/loss", "val/loss")
            if row[key]
        }


@pytest.fixture(scope="module")
def whole(prepared):
    succeed("train", *SETTINGS, "name=whole", cwd=prepared)
    return prepared


def test_killed_after_the_first_checkpoint(whole):
    killed = train(*SETTINGS, "name=killed", signal_at(3, signal.SIGKILL), cwd=whole)
    assert killed.returncode == -signal.SIGKILL
    (whole / "outputs/killed/checkpoints/last.ckpt.tmp").write_bytes(b"half")
    again = run("train", *SETTINGS, "name=killed", "ckpt_path=last", cwd=whole)
    assert again.returncode == 0, again.stderr
    assert "Resuming after step 3 of" in again.stderr
    assert_same_end(whole, "killed", "whole")


def test_every_process_is_asked_to_stop_during_the_validation(whole):
    stopped = train(*SETTINGS, "name=stopped", signal_at(STEPS + 1, signal.SIGTERM, group=True), cwd=whole)
    assert stopped.returncode == 143
    assert "Traceback" not in stopped.stderr
    again = run("train", *SETTINGS, "name=stopped", "ckpt_path=last", cwd=whole)
    assert again.returncode == 0, again.stderr
    assert_same_end(whole, "stopped", "whole")


def test_nothing_left_to_do(whole, monkeypatch):
    """Nor are the training cases measured again, which takes minutes where tasks are many."""
    before = means(whole, "whole")
    monkeypatch.setattr("uniseg.training.run.task_statistics", None)
    done = run("train", *SETTINGS, "name=whole", "ckpt_path=last", cwd=whole)
    assert done.returncode == 0, done.stderr
    assert means(whole, "whole") == before


def test_no_room_for_the_next_checkpoint(trained, tmp_path):
    """Real writes that fail: no file may grow beyond 300 kB."""
    settings = ["experiment=demo", *TINY, "trainer.max_epochs=3", f"hydra.run.dir={tmp_path}"]
    good = checkpoint(trained, "demo").read_bytes()
    assert len(good) > 300_000
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/last.ckpt").write_bytes(good)
    full = subprocess.run(
        [PYTHON, "-m", "uniseg.train", *settings, "ckpt_path=last"],
        cwd=trained, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
        timeout=300,
    )  # fmt: skip
    assert full.returncode == 2, full.stderr
    errors = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert str(tmp_path / "checkpoints/last.ckpt") in errors[0]
    assert "File too large" in errors[0]
    assert "Traceback" not in full.stderr
    assert [(file.name, file.read_bytes() == good) for file in (tmp_path / "checkpoints").iterdir()] == [
        ("last.ckpt", True)
    ]
