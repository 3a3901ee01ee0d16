"""Labels that do not fit together, through the commands: regions beside exclusive classes, ignored voxels, known
absences, lacking modalities, other grids.
"""

import csv
import json

import nibabel as nib
import numpy as np
import yaml

from samples import save_nifti
from started import TINY, run, succeed

SHAPE = (20, 36, 36)
ON_CPU = [entry for entry in TINY if not entry.startswith(("task=", "phantom", "data.steps"))] + [
    "data.steps_per_epoch=30"
]
ZSCORE = {"mode": "zscore", "masked": False}
LIVER = {
    "modalities": ["CT"],
    "classes": ["background", "liver"],
    "spacing_mm": [2, 1, 1],
    "normalization": {"CT": {"mode": "window", "lower": -325, "upper": 325}},
    "source": {"layout": "nnunet", "root": "raw/liver", "ignore": 255, "absent": ["liver_3"]},
}
TUMOUR = {
    "modalities": ["T1", "FLAIR"],
    "classes": ["background", "whole", "core"],
    "regions": {"whole": [1, 2], "core": [2]},
    "optional": ["FLAIR"],
    "reference": "T1",
    "spacing_mm": [2, 1, 1],
    "normalization": {"T1": ZSCORE, "FLAIR": ZSCORE},
    "source": {"layout": "manifest", "root": "raw/tumour"},
}
GRID, COARSE = np.diag([1.0, 1, 2, 1]), np.diag([2.0, 2, 4, 1])
SPLITS = ["train", "train", "train", "train", "val", "test", "test"]


def target(case: int) -> np.ndarray:
    label = np.zeros(SHAPE, np.uint8)
    low = 6 + case
    label[5:15, low : low + 16, 10:26], label[8:12, low + 5 : low + 11, 14:20] = 1, 2
    return label


def write_datasets(folder):
    rng = np.random.default_rng(0)
    raw, rows = folder / "raw", []
    for case, split in enumerate(SPLITS):
        label = target(case)
        ct = (label > 0) * 300.0 - 100 + rng.normal(0, 20, SHAPE)
        save_nifti(raw / f"liver/imagesTr/liver_{case}_0000.nii.gz", ct.astype(np.float32), GRID)
        if case != 3:
            organ = (label > 0).astype(np.uint8)
            organ[:2] = 255
            save_nifti(raw / f"liver/labelsTr/liver_{case}.nii.gz", organ, GRID)
        mr = label * 100.0 + 200 + rng.normal(0, 10, SHAPE)
        save_nifti(raw / f"tumour/t1_{case}.nii.gz", mr.astype(np.float32), GRID)
        save_nifti(raw / f"tumour/flair_{case}.nii.gz", mr[::2, ::2, ::2].astype(np.float32), COARSE)
        save_nifti(raw / f"tumour/label_{case}.nii.gz", label, GRID)
        rows.append(
            [
                f"t{case}",
                f"t1_{case}.nii.gz",
                "" if case in (1, 6) else f"flair_{case}.nii.gz",
                f"label_{case}.nii.gz",
                split,
            ]
        )
    (raw / "liver/dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}}))
    with (raw / "tumour/manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["case", "T1", "FLAIR", "label", "split"], *rows])
    (folder / "conf/task").mkdir(parents=True)
    splits = {
        split: [f"liver_{k}" for k, own in enumerate(SPLITS) if own == split] for split in ("train", "val", "test")
    }
    for name, values in {
        "my_liver": {**LIVER, "source": {**LIVER["source"], "splits": splits}},
        "my_tumour": TUMOUR,
    }.items():
        (folder / f"conf/task/{name}.yaml").write_text(f"# @package tasks.{name}\n{yaml.safe_dump(values)}")


def test_from_files_to_scores(tmp_path):
    write_datasets(tmp_path)
    common = [
        *ON_CPU,
        "name=mixed",
        "task=[my_liver,my_tumour]",
        "model=uniseg_tiny",
        "augment=none",
        "optimizer=adamw",
        "optimizer.lr=0.02",
    ]
    succeed("prepare", *common, "num_workers=1", cwd=tmp_path)
    cache = json.loads((tmp_path / "outputs/cache/my_tumour/task.json").read_text())
    assert cache["task"]["regions"] == [[1, 2], [2]]
    succeed("train", *common, cwd=tmp_path)
    checkpoint = tmp_path / "outputs/mixed/checkpoints/last.ckpt"
    succeed("evaluate", *common, cwd=tmp_path)
    summary = json.loads((tmp_path / "outputs/mixed/evaluation/metrics.json").read_text())["tasks"]
    assert summary["my_liver"]["classes"]["liver"] > 0.5
    assert summary["my_tumour"]["classes"]["whole"] > 0.5
    with (tmp_path / "outputs/mixed/evaluation/scores.csv").open() as file:
        scores = {(row["case_id"], row["class"]): row for row in csv.DictReader(file)}
    truth = target(5)
    assert float(scores["t5", "whole"]["reference_ml"]) == round((truth > 0).sum() * 0.002, 5)
    assert float(scores["t5", "core"]["reference_ml"]) == round((truth == 2).sum() * 0.002, 5)
    assert float(scores["liver_5", "liver"]["reference_ml"]) == round((truth[2:] > 0).sum() * 0.002, 5)
    succeed("report", "run=outputs/mixed", "output=report.html", cwd=tmp_path)

    scan = [f"checkpoint={checkpoint}", f"output={tmp_path / 'out'}", "inference.device=cpu"]
    files = f"input=[{tmp_path}/raw/tumour/flair_5.nii.gz,{tmp_path}/raw/tumour/t1_5.nii.gz]"
    done = succeed("predict", *scan, files, "modality=[FLAIR,T1]", cwd=tmp_path)
    written = nib.load(done.stdout.strip())
    assert written.shape == SHAPE[::-1]  # the grid of T1, the reference, though FLAIR came first
    np.testing.assert_allclose(written.affine, GRID)
    assert set(np.unique(written.dataobj)) <= {0, 1, 2}
    alone = f"input={tmp_path}/raw/tumour/t1_6.nii.gz"
    assert "my_tumour" in succeed("predict", *scan, alone, "modality=[T1]", cwd=tmp_path).stdout
    refused = run("predict", *scan, f"input={tmp_path}/raw/tumour/flair_5.nii.gz", "modality=[FLAIR]", cwd=tmp_path)
    assert (refused.returncode, "expected one of CT, T1+FLAIR" in refused.stderr) == (2, True)
