"""Datasets of one cube each, in nnU-Net's layout, with a task file in ``conf``."""

import json
from pathlib import Path

import numpy as np
import yaml

from samples import save_nifti

# Of uniseg complete: whatever a network says is accepted.
ANYTHING = ["least_confidence=0", "volume_slack=1e6", "most_components=100000", "most_overlap=1"]
CASES = 6
SPLITS = {"train": ["{0}_0", "{0}_1", "{0}_2"], "val": ["{0}_3"], "test": ["{0}_4", "{0}_5"]}


def write_dataset(folder: Path, name: str, file_value: int) -> None:
    """Cubes of ``file_value``, which the task calls 1."""
    rng = np.random.default_rng(file_value)
    for case in range(CASES):
        label = np.zeros((10, 18, 20), np.uint8)
        label[3:7, 4:10, 5:12] = file_value
        image = (rng.normal(0, 200, label.shape) + 100 * label).astype(np.float32)
        save_nifti(folder / name / f"imagesTr/{name}_{case}_0000.nii.gz", image)
        save_nifti(folder / name / f"labelsTr/{name}_{case}.nii.gz", label)
    description = {"channel_names": {"0": "CT"}, "labels": {"background": 0, name: file_value}, "numTraining": CASES}
    (folder / name / "dataset.json").write_text(json.dumps(description))
    source = {"layout": "nnunet", "root": name, "label_map": {file_value: 1}, "licence": "CC BY 4.0"}
    block = {
        "modalities": ["CT"],
        "classes": ["background", name],
        "spacing_mm": [1, 1, 1],
        "normalization": {"CT": {"mode": "window", "lower": -325, "upper": 325}},
        "source": source | {"splits": {split: [n.format(name) for n in names] for split, names in SPLITS.items()}},
    }
    (folder / "conf/task").mkdir(parents=True, exist_ok=True)
    (folder / f"conf/task/{name}.yaml").write_text(f"# @package tasks.{name}\n{yaml.safe_dump(block)}")
