"""Every command of docs/deploy.md runs, in the order of the page, MONAI's included."""

import json
import shlex
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_schema import MONAI_SCHEMA
from pages import commands_of
from samples import make_task, save_nifti, small_model
from segmented_series import BASE, make_series
from started import succeed
from uniseg.evaluation.records import Summary, TaskSummary
from uniseg.task import TaskSet
from uniseg.weights.checkpoint import KEY, describe_model

OF_MONAI = ("verify_metadata", "verify_net_in_out", "run")


def save_checkpoint(model, path):
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    path.parent.mkdir(parents=True)
    torch.save({KEY: describe_model(model, state), "state_dict": state}, path)


@pytest.fixture
def folder(tmp_path):
    """What the page takes as given: a checkpoint, one to which a task was added, its scores, scans, MONAI's schema."""
    model = small_model(TaskSet([make_task("phantom_liver"), make_task("phantom_spleen")]))
    save_checkpoint(model, tmp_path / "outputs/demo/checkpoints/last.ckpt")
    model.extend([make_task("kidney", classes=("background", "kidney"))], adapter_channels=2)
    save_checkpoint(model, tmp_path / "outputs/kidney/checkpoints/last.ckpt")
    (tmp_path / "outputs/kidney/evaluation").mkdir()
    scores = TaskSummary(0.8, 0.8, 0.1, num_cases=3, num_patients=3, classes={})
    Summary(0.8, 0.8, 0.1, {"kidney": scores}).write(tmp_path / "outputs/kidney/evaluation/metrics.json")
    values = np.random.default_rng(0).normal(-500, 500, size=(9, 20, 20)).astype(np.float32)
    save_nifti(tmp_path / "scan.nii.gz", values)
    make_series(tmp_path / "ct_series", BASE)
    (tmp_path / "schema.json").write_text(json.dumps(MONAI_SCHEMA))
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_run(folder):
    for module in ("onnxscript", "onnxruntime", "fire", "jsonschema", "highdicom"):
        pytest.importorskip(module, reason="an extra is not installed")
    ran = []
    for command in commands_of("deploy.md"):
        words = shlex.split(command, comments=True)
        if words[0] == "uniseg":
            assert succeed(*words[1:], cwd=folder).stdout.strip(), command
        else:
            assert words[0] == "python", command
            started = [sys.executable, *words[1:]]
            done = subprocess.run(started, cwd=folder, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
        ran.append(words)
    assert [words[3] for words in ran if words[1:3] == ["-m", "monai.bundle"]] == list(OF_MONAI)
    assert (folder / "liver.nii.gz").is_file()
    assert (folder / "out/phantom_liver/ct_series.seg.dcm").is_file()
    assert (folder / "out/kidney/scan.nii.gz").is_file()
    succeed("predict", "checkpoint=my_model", "input=scan.nii.gz", "output=ours", "tasks=[phantom_spleen]", cwd=folder)
    monai, ours = (
        np.asarray(nib.load(folder / name / "phantom_spleen/scan.nii.gz").dataobj) for name in ("out", "ours")
    )
    assert len(np.unique(ours)) > 1
    np.testing.assert_array_equal(monai, ours)
