"""A folder of one mask per class, two tasks of it from one data-set file: prepare, train, predict, evaluate."""

import json

import nibabel as nib
import numpy as np

from samples import save_nifti
from started import TINY, succeed

AFFINE = np.diag([2.0, 2, 2, 1])
SHAPE = (20, 22, 24)
BOXES = {"liver": (4, 10), "stomach": (9, 13), "vertebrae_L1": (14, 17), "vertebrae_L2": (17, 20)}  # along z
SPLITS = ["train"] * 4 + ["val", "test"]
DATASET = """# Six made scans.
modalities: [CT]
spacing_mm: [2, 2, 2]
normalization: {CT: {mode: zscore}}
source: {layout: totalsegmentator, root: body, licence: CC0, citation: "Maker et al., 2026"}
tasks:
  organs: [liver, stomach]
  vertebrae: [vertebrae_L1, vertebrae_L2]
"""


def write_scans(root):
    rng = np.random.default_rng(0)
    for number in range(len(SPLITS)):
        scan = rng.normal(0, 20, SHAPE)
        scan[:, :3] = -1000  # air
        for value, (name, (low, high)) in enumerate(BOXES.items(), start=1):
            mask = np.zeros(SHAPE, np.uint8)
            mask[low:high, 5:15, 4 + number : 14 + number] = 1
            scan[mask > 0] += 100 * value
            save_nifti(root / f"s{number:04d}/segmentations/{name}.nii.gz", mask, AFFINE)
        save_nifti(root / f"s{number:04d}/ct.nii.gz", scan.astype(np.float32), AFFINE)
    rows = [f"s{number:04d};50;{split}" for number, split in enumerate(SPLITS)]
    (root / "meta.csv").write_text("\ufeff" + "\n".join(["image_id;age;split", *rows]) + "\n")


def test_two_tasks_of_one_folder(tmp_path):
    folder = tmp_path
    write_scans(folder / "body")
    (folder / "conf/dataset").mkdir(parents=True)
    (folder / "conf/dataset/body.yaml").write_text(DATASET)
    few = [each for each in TINY if not each.startswith(("phantom.", "task="))]
    chosen = ["dataset=body", "name=body", "model=uniseg_tiny", "augment=none", *few]

    said = " ".join(succeed("prepare", *chosen, "num_workers=1", cwd=folder).stderr.split())
    assert "masks overlap: what 'liver' and 'stomach' both claim is 'stomach'" in said
    names = ("organs", "vertebrae")
    caches = [json.loads((folder / f"outputs/cache/{name}/task.json").read_text()) for name in names]
    assert [len(cache["cases"]) for cache in caches] == [5, 5]
    assert json.loads((folder / "outputs/cache/organs/splits.json").read_text())["test"] == ["s0005"]

    succeed("train", *chosen, "trainer.max_epochs=1", "data.steps_per_epoch=2", cwd=folder)
    scan = "input=body/s0005/ct.nii.gz"
    succeed("predict", "checkpoint=outputs/body/checkpoints/last.ckpt", scan, "output=out", cwd=folder)
    for name in names:
        predicted = nib.load(folder / f"out/{name}/ct.nii.gz")
        assert predicted.shape == SHAPE[::-1]
        assert set(np.unique(predicted.dataobj)) <= {0, 1, 2}

    told = json.loads(succeed("info", "checkpoint=outputs/body/checkpoints/last.ckpt", "--json", cwd=folder).stdout)
    assert (told["licence"], told["citations"]) == ("CC0", ["Maker et al., 2026"])

    succeed("evaluate", *chosen, "rules.surfaces=false", "rules.lesions=false", cwd=folder)
    summary = json.loads((folder / "outputs/body/evaluation/metrics.json").read_text())
    assert set(summary["tasks"]) == {"organs", "vertebrae"}
    rows = (folder / "outputs/body/evaluation/scores.csv").read_text().splitlines()
    assert any("vertebrae_L2" in row and "s0005" in row for row in rows)
