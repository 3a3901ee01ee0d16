"""Every command of docs/deploy.md runs, in the order of the page."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from samples import make_task, save_nifti, small_model
from started import succeed
from uniseg.task import TaskSet
from uniseg.weights.checkpoint import KEY, describe_model

PAGE = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if not line.startswith(("pip ", "#"))
]


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path):
    assert len(COMMANDS) > 4
    model = small_model(TaskSet([make_task("phantom_liver"), make_task("phantom_spleen")]))
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    checkpoint = tmp_path / "outputs/demo/checkpoints/last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    torch.save({KEY: describe_model(model, state), "state_dict": state}, checkpoint)
    save_nifti(
        tmp_path / "scan.nii.gz", np.random.default_rng(0).normal(-500, 500, size=(9, 20, 20)).astype(np.float32)
    )
    for command in COMMANDS:
        words = shlex.split(command, comments=True)
        if words[0] == "uniseg":
            assert succeed(*words[1:], cwd=tmp_path).stdout.strip(), command
        else:
            assert words[0] == "python", command
            done = subprocess.run(
                [sys.executable, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
    assert (tmp_path / "liver.nii.gz").is_file()
