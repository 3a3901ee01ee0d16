"""An entry point from the command line to the exit code, in this process."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

import uniseg.predict
import uniseg.train
from started import PYTHON
from uniseg.commands.app import run
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError

PREDICT = ["checkpoint=a", "input=b", "output=out"]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs ``work(config)`` as ``uniseg.predict`` with arguments; returns the exit code."""
    monkeypatch.chdir(tmp_path)

    def command(work, *arguments):
        monkeypatch.setattr(uniseg.predict, "main", work)
        return run(["predict", *arguments]).code

    return command


def failing(error):
    def work(config):
        raise error

    return work


def test_a_folder_with_a_number_for_a_name(command):
    seen = []
    assert (
        command(
            lambda config: seen.append((config.input, config.output, config.checkpoint)),
            "input=2024_01",
            "output=7",
            "checkpoint=[1,b]",
        )
        == 0
    )
    assert seen == [("2024_01", "7", ["1", "b"])]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["input=a(1).nii.gz"], "write 'input=\"a(1).nii.gz\"'"),
        (["inference.overlap=2"], "inference.overlap: found 2.0; expected a number of at least 0 and below 1"),
        (["inferense.overlap=0.5"], "inferense"),
        (["inference=nope"], "no inference 'nope'"),
        (["inference.window_batch=a"], "window_batch"),
        (["output=${nowhere}"], "nowhere"),
        (["hydra.run.dir=/proc/nothing"], "/proc/nothing: found No such file or directory"),
    ],
)
def test_what_is_wrong_ahead_of_the_work_is_one_line(command, capsys, arguments, message):
    assert command(failing(AssertionError("worked")), *PREDICT, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a", "b", "c", "d"), 2),
        (MemoryError(), 2),
        (PermissionError(13, "Permission denied", "/x"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_ends_the_work_is_one_line(command, capsys, error, code):
    assert command(failing(error), *PREDICT) == code
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("kind", [ValueError, AttributeError, KeyError, TypeError])
def test_a_bug_comes_out_as_it_is(command, capsys, kind):
    with pytest.raises(kind, match="ours"):
        command(failing(kind("ours")), *PREDICT)
    assert "error: " not in capsys.readouterr().err


def test_sigterm_ends_the_work_and_its_cleaning_up_is_done(command, capsys):
    cleaned = []

    def work(config):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            cleaned.append(True)

    before = signal.getsignal(signal.SIGTERM)
    assert command(work, *PREDICT) == 143
    assert cleaned == [True]
    assert capsys.readouterr().err == "terminated by SIGTERM\n"
    assert signal.getsignal(signal.SIGTERM) is before


TALKER = """
import sys
import uniseg.predict
import uniseg.train
from uniseg.commands.app import run_and_exit

def main(config):
    for _ in range(100_000):
        sys.stdout.write("line\\n")

uniseg.predict.main = main
run_and_exit("predict")
"""


def test_a_reader_of_stdout_that_goes_away_is_no_error(tmp_path):
    (tmp_path / "talker.py").write_text(TALKER)
    piped = f"{PYTHON} talker.py {' '.join(PREDICT)} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", piped], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (141, "line\n", "")


DEBUG_PRESETS = sorted(path.stem for path in (CONF_DIR / "debug").glob("*.yaml"))


@pytest.mark.parametrize("preset", DEBUG_PRESETS)
@pytest.mark.parametrize(
    ("given", "folder", "overwrites"),
    [
        ([], "outputs/debug/{}", True),
        (["name=demo"], "outputs/debug/{}", True),
        (["experiment=named"], "outputs/debug/{}", True),
        (["paths.outputs=elsewhere", "name=demo"], "elsewhere/debug/{}", True),
        (["-m", "seed=3", "name=demo"], "outputs/debug/{}/sweep/0", True),
        (["run_dir=outputs/demo"], "outputs/demo", False),
        (["run_dir=outputs/debug/../demo"], "outputs/demo", False),
        (["hydra.run.dir=outputs/demo"], "outputs/demo", False),
    ],
)
def test_a_debug_run_replaces_no_other_run(preset, given, folder, overwrites, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/experiment").mkdir(parents=True)
    text = "# @package _global_\nname: demo\nrun_dir: outputs/demo\n"
    (tmp_path / "conf/experiment/named.yaml").write_text(text)
    seen = []
    monkeypatch.setattr(
        uniseg.train, "main", lambda config: seen.append((Path(config.run_dir).resolve(), config.overwrite))
    )
    assert run(["train", *given, f"debug={preset}"]).code == 0
    assert seen == [(tmp_path / folder.format(preset), overwrites)]
