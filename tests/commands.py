"""The commands, as a user types them."""

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
    return subprocess.run([PYTHON, "-m", f"uniseg.{command}", *overrides], cwd=cwd, capture_output=True, text=True, check=False)


def succeed(command: str, *overrides: str, cwd: Path) -> subprocess.CompletedProcess:
    done = run(command, *overrides, cwd=cwd)
    assert done.returncode == 0, done.stderr[-3000:]
    return done
