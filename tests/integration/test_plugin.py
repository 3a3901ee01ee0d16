"""Classes of an installed package go through every command, without a line of ours that knows them."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from plugin import install
from samples import save_nifti
from started import run, succeed
from uniseg import load_model

FILES = {
    "task/organ.yaml": """
# @package tasks.organ
modalities: [CT]
classes: [background, organ]
spacing_mm: [2, 2, 2]
normalization:
  CT: {mode: power, exponent: 2}
source:
  layout: folders
  root: ${paths.data}
  homepage: a test
  licence: none needed
""",
    "model/encoder/plain.yaml": """
_target_: uniseg_extras.parts.PlainEncoder
_partial_: true
channels: [4, 8, 8]
""",
    "model/conditioning/scale.yaml": "{_target_: uniseg_extras.parts.TaskScale, _partial_: true}",
    "model/head/biased.yaml": "{_target_: uniseg_extras.parts.BiasedHead, _partial_: true}",
    "loss/cross_entropy.yaml": "_target_: uniseg_extras.loss.CrossEntropy",
    "augment/shifted.yaml": """
defaults: [none]
transforms:
  shift: {_target_: uniseg_extras.shift.Shift, most: 0.2}
""",
}
GIVEN = [
    "task=organ",
    "paths.data=scans",
    "paths.cache=cache",
]
CHOSEN = [
    "model=uniseg_tiny",
    "model/encoder=plain",
    "model/conditioning=scale",
    "model/head=biased",
    "loss=cross_entropy",
    "augment=shifted",
    "data.patch_size=[8,16,16]",
    "data.batch_size=2",
    "data.steps_per_epoch=2",
    "data.val_steps=1",
    "data.num_workers=0",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "callbacks.progress.refresh_rate=0",
    "run_dir=run",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a user works: scans, files under ``conf``, the package installed."""
    install(tmp_path / "site", monkeypatch)
    rng = np.random.default_rng(0)
    for case in range(6):
        label = np.zeros((12, 20, 20), np.uint8)
        label[4:9, 5 + case : 12 + case, 6:14] = 1
        scan = rng.normal(size=label.shape) + 3 * label
        save_nifti(tmp_path / f"scans/c{case}/scan.nii.gz", scan.astype(np.float32), np.diag([2.0, 2, 2, 1]))
        save_nifti(tmp_path / f"scans/c{case}/mask.nii.gz", label, np.diag([2.0, 2, 2, 1]))
    for name, text in FILES.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    return tmp_path


def test_they_prepare_train_load_predict_and_export(folder):
    succeed("prepare", *GIVEN, "num_workers=1", cwd=folder)
    succeed("train", *GIVEN, *CHOSEN, cwd=folder)
    checkpoint = folder / "run/checkpoints/last.ckpt"
    model = load_model(checkpoint)
    assert {type(part).__module__ for part in (model.encoder, model.conditioning, model.head)} == {
        "uniseg_extras.parts"
    }
    assert model.conditioning.factors.ne(1).any()  # it has learnt
    succeed("export", f"checkpoint={checkpoint}", "output=shared", cwd=folder)
    shared = load_model(folder / "shared").state_dict()
    assert all(torch.equal(tensor, shared[name]) for name, tensor in model.state_dict().items())
    scan = folder / "scans/c0/scan.nii.gz"
    given = ["checkpoint=shared", f"input={scan}", "output=out", "modality=[CT]", "inference.device=cpu"]
    succeed("predict", *given, cwd=folder)
    written = nib.load(folder / "out/organ/scan.nii.gz")
    assert written.shape == nib.load(scan).shape
    assert json.loads((folder / "out/organ/scan.json").read_text())["classes"] == ["background", "organ"]


def test_a_network_that_could_not_be_loaded_is_refused_before_it_trains(folder, monkeypatch):
    monkeypatch.setattr("uniseg.weights.build.GROUP", "uniseg.another_group")
    succeed("prepare", *GIVEN, "num_workers=1", cwd=folder)
    done = run("train", *GIVEN, *CHOSEN, cwd=folder)
    assert done.returncode == 2
    assert "model: encoder: found class 'uniseg_extras.parts.PlainEncoder'" in done.stderr
    assert not (folder / "run/checkpoints").exists()
