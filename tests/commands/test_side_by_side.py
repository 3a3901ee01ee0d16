"""Folds as processes: all run, one that fails stops the others, which save first, as the end of their starter does."""

import os
import select
import subprocess
import sys

import pytest

from uniseg.commands.side_by_side import environment_of, run_side_by_side

WRITE = "import sys; print('line of', sys.argv[1]); open(sys.argv[2], 'w').close()"
# Waits until it is told to end, as a training does, and says that it is there; ends by itself after a minute.
SAVES = """
import pathlib, signal, sys
def save(*_):
    pathlib.Path(sys.argv[2], 'saved').touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
signal.alarm(60)
pathlib.Path(sys.argv[2], 'there').touch()
signal.pause()
"""
FAILS = """
import pathlib, signal, sys
signal.alarm(60)
while not pathlib.Path(sys.argv[2], 'there').exists():
    pass
print('error: no such scan', file=sys.stderr)
sys.exit(2)
"""
# A fold that tells, by a named pipe, that it is at work and that it was told to end; ends by itself after a minute.
FOLD = """
import os, signal, sys
from uniseg.commands.side_by_side import end_with_starter
pipe = os.open(sys.argv[1], os.O_WRONLY)
def save(*_):
    os.write(pipe, b'saved')
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
signal.alarm(60)
end_with_starter()
os.write(pipe, b'at work')
signal.pause()
"""
STARTER = """
import pathlib, signal, sys
from uniseg.commands.side_by_side import run_side_by_side
signal.alarm(60)
fold = {0: [sys.executable, '-c', sys.argv[1], sys.argv[2]]}
run_side_by_side(fold, lambda number: pathlib.Path(sys.argv[3]), 1, print)
"""


def commands(tmp_path, scripts):
    return {number: [sys.executable, "-c", script, str(number), str(tmp_path)] for number, script in scripts.items()}


def test_all_are_run_and_logged(tmp_path):
    said = []
    given = {n: [sys.executable, "-c", WRITE, str(n), str(tmp_path / f"{n}.done")] for n in (0, 2, 3)}
    run_side_by_side(given, lambda number: tmp_path / f"logs/{number}.log", 2, said.append)
    assert sorted(path.name for path in tmp_path.glob("*.done")) == ["0.done", "2.done", "3.done"]
    assert (tmp_path / "logs/2.log").read_text() == "line of 2\n"
    assert len(said) == 3


def test_one_that_fails_stops_the_others_which_save(tmp_path):
    said = []
    with pytest.raises(SystemExit) as end:
        run_side_by_side(
            commands(tmp_path, {0: SAVES, 1: FAILS, 2: WRITE}), lambda n: tmp_path / f"{n}.log", 2, said.append
        )
    assert end.value.code == 2
    assert (tmp_path / "saved").exists()
    assert said[-1].startswith("Fold 1: ended with exit code 2: error: no such scan (all of it in ")
    assert not (tmp_path / "2.log").exists(), "was started after a failure"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_a_fold_saves_and_ends_when_its_starter_was_killed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    command = [sys.executable, "-c", STARTER, FOLD, str(tmp_path / "pipe"), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as starter:
        assert read_of(pipe) == b"at work"
        starter.kill()
    assert read_of(pipe) == b"saved", (tmp_path / "log").read_text()
    os.close(pipe)


def read_of(pipe):
    """What comes next; nothing where all writers ended, or after the minute that they live at most."""
    return os.read(pipe, 100) if select.select([pipe], [], [], 60)[0] else b""


def test_several_gpus_are_shared_out():
    assert environment_of(3, {"HOME": "/h"}, 1) == {"HOME": "/h"}
    assert [environment_of(slot, {}, 2)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0", "1", "0"]
