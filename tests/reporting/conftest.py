"""A small evaluated run on disk."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from samples import make_task
from uniseg.reporting.html import write_report

# File order (i, j, k) grows to superior, posterior, right: an orientation that canonical reading must turn. Voxels 2 x
# 1 x 1.5 mm.
AFFINE = np.array([[0, 0, 1.5, -5], [0, -1, 0, 7], [2, 0, 0, 3], [0, 0, 0, 1]], float)
SHAPE = (12, 16, 16)  # Z, Y, X
ORGANS = ("background", "liver", "spleen")
LESION = ("background", "lesion")
# Per case: Dice, nnU-Net's (None: both empty), baseline Dice, by foreground class.
ORGAN_CASES = {
    "a": ((0.9, 0.9, 0.5), (0.7, 0.7, 0.3)),
    "b": ((0.6, 0.6, 0.5), (1.0, None, 1.0)),
    "c": ((0.2, 0.2, 0.5), (0.4, 0.4, 0.2)),
    "d": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
LESION_CASES = {"p": ((0.25, 0.25, 0.125),)}


def write_canonical(path: Path, array: np.ndarray) -> None:
    """``[Z,Y,X]`` growing to superior, posterior, left -> a file in the order of AFFINE (Z, Y, right)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array[:, :, ::-1]), AFFINE), path)


def box_label(low: int, high: int, value: int) -> np.ndarray:
    label = np.zeros(SHAPE, np.int16)
    label[low:high, 4:10, 3:9] = value
    return label


def write_case(root: Path, task: str, case_id: str, classes: tuple[str, ...], num_modalities: int) -> dict:
    rng = np.random.default_rng(ord(case_id))
    images = [root / "scans" / f"{task}_{case_id}_{m}.nii.gz" for m in range(num_modalities)]
    for path in images:
        write_canonical(path, rng.normal(100, 20, SHAPE).astype(np.float32))
    label = root / "scans" / f"{task}_{case_id}_label.nii.gz"
    write_canonical(label, box_label(3, 9, 5))
    write_canonical(root / "run" / "evaluation" / "predictions" / f"{task}_{case_id}.nii.gz", box_label(4, 9, 1))
    return {
        "task": task,
        "case_id": case_id,
        "patient_id": f"site/{case_id}",
        "images": [str(path) for path in images],
        "label": str(label),
        "prediction": f"predictions/{task}_{case_id}.nii.gz",
        "definition": make_task(task, ["CT"] if num_modalities == 1 else ["FLAIR", "T1"], classes).to_dict(),
        "source": {"layout": "nnunet", "root": str(root), "label_map": {"5": 1}, "ignore": None},
    }


def task_metrics(dice: float, nnunet: float, baseline: float, classes: dict, baseline_classes: dict, **more) -> dict:
    values = {
        "dice": dice,
        "dice_nnunet": nnunet,
        "blind_dice": baseline,
        "classes": classes,
        "blind_classes": baseline_classes,
    }
    return values | {"cases_per_split": {"train": 20, "val": 3, "test": 4}, "licence": "CC <BY> 4.0"} | more


METRICS = {
    "mean_dice": 0.4253,
    "mean_dice_nnunet": 0.3917,
    "blind_mean_dice": 0.3128,
    "split": "test",
    "checkpoint": "checkpoints/last.ckpt",
    "tasks": {
        "organs": task_metrics(
            0.6005,
            0.5416,
            0.5006,
            {"liver": 0.5507, "spleen": 0.6508},
            {"liver": 0.5009, "spleen": 0.5011},
            num_cases=4,
            num_patients=6,
            modalities=["CT"],
            spacing_mm=[2, 1, 1.5],
        ),
        "lesions": task_metrics(
            0.2512,
            0.2513,
            0.1254,
            {"lesion": 0.2515},
            {"lesion": 0.1256},
            num_cases=1,
            num_patients=1,
            modalities=["FLAIR", "T1"],
            spacing_mm=[1, 1, 1],
        ),
    },
}

LOG = """epoch,lr-SGD,step,train/loss,train/loss/organs,val/loss,val/pseudo_dice,val/pseudo_dice/organs/liver
,0.01,0,,,,,
0,,9,,,0.9,0.1,0.2
0,,9,1.5,1.6,,,
1,,19,,,0.8,0.3,nan
1,,19,1.2,1.3,,,
1,,19,,,0.7,0.35,0.4
1,,19,1.1,1.25,,,
2,,29,1.0,
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path)


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of such a run, made once."""
    folder = tmp_path_factory.mktemp("report")
    return write_report(make_run(folder), folder / "out")


def make_run(tmp_path: Path) -> Path:
    """An evaluated run of two tasks, with its scans in ``tmp_path``."""
    root = tmp_path / "run"
    (root / "logs").mkdir(parents=True)
    (root / "logs" / "metrics.csv").write_text(LOG)
    config = {
        "name": "tiny",
        "seed": 7,
        "model": {"patch_size": [8, 16, 16], "encoder": {"channels": [4, 8]}},
        "optimizer": {"lr": 0.01},
    }
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    entries = [write_case(tmp_path, "organs", case_id, ORGANS, 1) for case_id in ORGAN_CASES]
    entries += [write_case(tmp_path, "lesions", case_id, LESION, 2) for case_id in LESION_CASES]
    (root / "evaluation" / "cases.json").write_text(json.dumps(entries))
    (root / "evaluation" / "metrics.json").write_text(json.dumps(METRICS))
    with (root / "evaluation" / "scores.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "task",
                "case_id",
                "patient_id",
                "class",
                "dice",
                "dice_nnunet",
                "blind_dice",
                "reference_ml",
                "prediction_ml",
            ]
        )
        for task, classes, cases in (("organs", ORGANS, ORGAN_CASES), ("lesions", LESION, LESION_CASES)):
            for case_id, rows in cases.items():
                for name, (dice, nnunet, baseline) in zip(classes[1:], rows, strict=True):
                    writer.writerow(
                        [
                            task,
                            case_id,
                            f"site/{case_id}",
                            name,
                            dice,
                            "" if nnunet is None else nnunet,
                            baseline,
                            123.4,
                            0.5,
                        ]
                    )
    return root
