"""The commands, as a user types them."""

import os
import subprocess
import sys
from pathlib import Path

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
    "model.encoder.channels=[4,8,8,8,8]",
    "inference.device=cpu",
    "callbacks.progress.refresh_rate=0",
]


def run(command: str, *overrides: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [PYTHON, "-m", f"uniseg.{command}", *overrides], cwd=cwd, capture_output=True, text=True, check=False
    )


def succeed(command: str, *overrides: str, cwd: Path) -> subprocess.CompletedProcess:
    done = run(command, *overrides, cwd=cwd)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


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
