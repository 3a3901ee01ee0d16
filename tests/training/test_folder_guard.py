"""One training in a folder, and none that overwrites another unasked."""

import json
import os
import signal
import subprocess
import sys

import pytest

from uniseg import InputError
from uniseg.run_folder import RunFolder
from uniseg.training.folder_guard import clear, locked, require_unused

HOLD = """
import sys, time
from pathlib import Path
from uniseg.training.folder_guard import locked
with locked(Path(sys.argv[1])):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_training_learns_who_holds_the_folder(holder, tmp_path):
    told = rf"process {holder.pid} on \S+ since 20.*end it \(kill {holder.pid}: it saves first\), or give another name"
    with pytest.raises(InputError, match=told), locked(tmp_path):
        raise AssertionError
    assert holder.poll() is None


def test_death_frees_the_folder_while_a_child_lives(holder, tmp_path):
    """As the readers of a killed run do for some seconds."""
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path):
        assert json.loads((RunFolder(tmp_path).lock).read_text())["process"] == os.getpid()
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        code = (
            "from pathlib import Path\nfrom uniseg.training.folder_guard import locked\n"
            f"with locked(Path({str(tmp_path)!r})): pass"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def make_run(folder):
    """Everything that belongs to a run, and what does not."""
    own = [
        "checkpoints/last.ckpt", "checkpoints/last.ckpt.tmp", "checkpoints/.part7_last.ckpt",
        ".part7_config.yaml", "logs/metrics.csv", "evaluation/metrics.json",
        "evaluation/predictions/liver/a.nii.gz",
        "evaluation_dev/scores.csv", "report/report.html", "prompts/evolution.npz", "weights.json", "old_tasks.json",
    ]  # fmt: skip
    others = ["notes.txt", "prediction/liver/a.nii.gz", "checkpoints/readme.txt"]
    for name in (*own, *others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return others


@pytest.mark.parametrize("left", ["checkpoints/last.ckpt", "evaluation/metrics.json"])
def test_a_run_is_not_replaced_without_overwrite(left, tmp_path):
    (tmp_path / left).parent.mkdir()
    (tmp_path / left).touch()
    with pytest.raises(InputError, match=rf"found {left}; .*ckpt_path=last.*name=.*overwrite=true"):
        require_unused(tmp_path, overwrite=False, inputs=[None])
    assert require_unused(tmp_path, overwrite=True, inputs=[None, "/elsewhere/last.ckpt"])


def test_a_half_written_checkpoint_makes_no_run(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/.part7_last.ckpt").touch()
    assert not require_unused(tmp_path, overwrite=False, inputs=[None])


def test_what_the_new_run_needs_is_not_removed(tmp_path):
    make_run(tmp_path)
    with pytest.raises(InputError, match="which it would remove"):
        require_unused(tmp_path, overwrite=True, inputs=[None, tmp_path / "checkpoints/last.ckpt"])


def test_a_folder_without_a_run_is_free(tmp_path):
    (tmp_path / "logs").mkdir()
    """What is in it stays, although its name is one of ours."""
    for overwrite in (False, True):
        assert not require_unused(tmp_path, overwrite=overwrite, inputs=[None])


def test_nothing_of_the_old_run_stays(tmp_path):
    others = make_run(tmp_path)
    clear(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(others)
