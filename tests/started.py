"""The commands, as a user types them: in this process, or in one of their own where a test is about that."""

import io
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import lightning.pytorch  # noqa: F401 - its loggers take the stderr of their first import

from uniseg.commands import app

PYTHON = sys.executable
TASKS = "task=[phantom_liver,phantom_spleen,phantom_whole_body_tumour]"
TINY = [
    TASKS,
    "phantom.num_cases=7",
    "data.patch_size=[16,32,32]",
    "data.batch_size=2",
    "data.steps_per_epoch=4",
    "data.val_steps=3",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "model.encoder.channels=[4,8,8,8]",
    "inference.device=cpu",
    "callbacks.progress.refresh_rate=0",
]


def run(command: str, *overrides: str, cwd: Path) -> subprocess.CompletedProcess:
    """In this process, where a bug is raised instead of ending with exit code 1."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err), _heard(err):
        result = app.run([command, *overrides])
    return subprocess.CompletedProcess([command, *overrides], result.code, out.getvalue(), err.getvalue())


def succeed(command: str, *overrides: str, cwd: Path) -> subprocess.CompletedProcess:
    done = run(command, *overrides, cwd=cwd)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def run_alone(command: str, *overrides: str, cwd: Path) -> subprocess.CompletedProcess:
    """In a process of its own."""
    return subprocess.run(
        [PYTHON, "-m", f"uniseg.{command}", *overrides],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def train(*overrides: str, cwd: Path) -> subprocess.CompletedProcess:
    """In its own process group, so that a test may signal all of it; probes.py may be named as a callback."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    command = [PYTHON, "-m", "uniseg.train", *overrides]
    return subprocess.run(
        command, cwd=cwd, env=env, start_new_session=True, capture_output=True, text=True, check=False, timeout=120
    )


def signal_at(event: int, number: int, **settings: object) -> str:
    """An override that puts a ``probes.SignalAt`` into a run."""
    values = {"_target_": "probes.SignalAt", "event": event, "number": int(number)} | settings
    return f"+callbacks.signal={{{','.join(f'{key}:{value}' for key, value in values.items())}}}"


@contextmanager
def _heard(err: io.StringIO) -> Iterator[None]:
    """Warnings, which pytest makes errors, are lines on stderr as outside; so is what Lightning logs."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    handlers = [each for logger in loggers for each in logger.handlers if type(each) is logging.StreamHandler]
    before = [handler.setStream(err) for handler in handlers]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = lambda *args, **_: err.write(warnings.formatwarning(*args[:4]))
        try:
            yield
        finally:
            for handler, stream in zip(handlers, before, strict=True):
                if stream is not None:
                    handler.setStream(stream)
