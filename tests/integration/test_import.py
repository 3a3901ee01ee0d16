"""A folder of nnU-Net's, imported, then prepared from the place where it was imported."""

import json

import numpy as np
import yaml

from samples import save_nifti
from started import run, succeed
from uniseg.environment import CONF_DIR

CASES = [f"hippocampus_{k:03d}" for k in range(10)]


def write_dataset(root):
    rng = np.random.default_rng(0)
    for case_id in CASES:
        label = np.zeros((12, 14, 16), np.uint8)
        label[4:8, 4:9, 5:9] = rng.integers(0, 3, (4, 5, 4))
        save_nifti(
            root / "imagesTr" / f"{case_id}_0000.nii.gz", (rng.normal(size=label.shape) + label).astype(np.float32)
        )
        save_nifti(root / "labelsTr" / f"{case_id}.nii.gz", label)
    description = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "Anterior": 1, "Posterior": 2},
        "numTraining": 260,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(description))
    folds = [{"train": [c for k, c in enumerate(CASES) if k % 5 != f], "val": CASES[f::5]} for f in range(5)]
    (root / "splits_final.json").write_text(json.dumps(folds))


def test_import_then_prepare(tmp_path):
    write_dataset(tmp_path / "raw" / "Dataset004_Hippocampus")
    done = succeed("prepare", "import=raw", cwd=tmp_path)
    assert "uniseg prepare task=[hippocampus]" in done.stderr
    assert yaml.safe_load((tmp_path / "conf/task/hippocampus.yaml").read_text())["classes"] == [
        "background",
        "Anterior",
        "Posterior",
    ]
    done = succeed("prepare", "task=[hippocampus]", "num_workers=1", cwd=tmp_path)
    assert "Warning" not in done.stderr
    cache = tmp_path / "outputs/cache/hippocampus"
    assert json.loads((cache / "task.json").read_text())["task"]["classes"] == ["background", "Anterior", "Posterior"]
    assert json.loads((cache / "splits.json").read_text())["folds"] == [CASES[f::5] for f in range(5)]
    refused = run("prepare", "task=[nowhere]", cwd=tmp_path)
    assert refused.returncode == 2
    done = succeed("prepare", "--info", "searchpath", cwd=tmp_path)
    assert [line.split("|")[1].strip() for line in done.stdout.splitlines() if "|" in line][1:] == [
        "hydra",
        "local datasets",
        "local",
        "datasets",
        "main",
        "schema",
    ]


def test_the_packaged_configuration_is_not_found_twice(tmp_path):
    (tmp_path / "conf").symlink_to(CONF_DIR)
    done = succeed("prepare", "--info", "searchpath", cwd=tmp_path)
    assert "local" not in done.stdout
    assert done.stdout.count(f"file://{CONF_DIR}") == 1
