"""A folder of nnU-Net's own results: its planner, its trainer, its validation, in a few steps; runs where nnunetv2 is.

    python train_nnunet.py <dataset> <output> --cases 8 --steps 40

``run.py`` beside it starts this with the interpreter that it is given.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

NAME, NUMBER = "Dataset004_Hippocampus", 4
# Planner of nnU-Net, its plans, the edits of its 3d_fullres: small enough for a processor. The second sees another
# spacing, so that images and scores are resampled.
NETWORKS = (
    ("ExperimentPlanner", "nnUNetPlans", {"patch_size": [24, 32, 24], "spacing": None}),
    ("nnUNetPlannerResEncM", "nnUNetResEncUNetMPlans", {"patch_size": [32, 24, 24], "spacing": [1.3, 1.0, 1.15]}),
)
FEATURES, STRIDES = [8, 16, 32], [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
FOLDS = (0, 1)


def copy_cases(dataset: Path, root: Path, count: int) -> list[str]:
    target = root / "raw" / NAME
    for folder in ("imagesTr", "labelsTr"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    names = sorted(path.name.removesuffix(".nii.gz") for path in (dataset / "labelsTr").glob("*.nii.gz"))[:count]
    for name in names:
        shutil.copy(dataset / "imagesTr" / f"{name}_0000.nii.gz", target / "imagesTr")
        shutil.copy(dataset / "labelsTr" / f"{name}.nii.gz", target / "labelsTr")
    description = json.loads((dataset / "dataset.json").read_text()) | {"numTraining": len(names)}
    (target / "dataset.json").write_text(json.dumps(description))
    return names


def shrink(path: Path, edits: dict) -> None:
    """Widths, depth, patch and spacing of the plans of ``3d_fullres``."""
    plans = json.loads(path.read_text())
    plans["configurations"] = {"3d_fullres": plans["configurations"]["3d_fullres"]}
    configuration = plans["configurations"]["3d_fullres"]
    configuration |= {key: value for key, value in edits.items() if value is not None} | {"batch_size": 2}
    numbers = configuration["architecture"]["arch_kwargs"]
    numbers |= {"n_stages": len(FEATURES), "features_per_stage": FEATURES, "strides": STRIDES}
    numbers["kernel_sizes"] = [[3, 3, 3]] * len(FEATURES)
    for key, value in numbers.items():
        if key.startswith("n_") and isinstance(value, list):
            numbers[key] = value[: len(FEATURES) - key.endswith("decoder")]
    path.write_text(json.dumps(plans))


def train(plans_file: Path, fold: int, steps: int) -> None:
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans = json.loads(plans_file.read_text()) | {"continue_training": False}
    description = json.loads((plans_file.parent / "dataset.json").read_text())
    trainer = nnUNetTrainer(plans, "3d_fullres", fold, description, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 2, steps // 2, 2
    trainer.initial_lr = 0.03
    trainer.run_training()
    trainer.perform_actual_validation()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    root = options.output.absolute()
    for name in ("raw", "preprocessed", "results"):
        (root / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(root / name)
    os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "nnUNet_compile": "false"}
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess_dataset,
    )

    names = copy_cases(options.dataset, root, options.cases)
    extract_fingerprints([NUMBER], num_processes=1)
    folder = root / "preprocessed" / NAME
    parts = [names[fold :: len(FOLDS)] for fold in FOLDS]
    splits = [{"train": [n for n in names if n not in part], "val": part} for part in parts]
    (folder / "splits_final.json").write_text(json.dumps(splits))
    for planner, plans, edits in NETWORKS:
        plan_experiments([NUMBER], planner)
        shrink(folder / f"{plans}.json", edits)
        preprocess_dataset(NUMBER, plans, ("3d_fullres",), [1])
        os.environ |= {"nnUNet_n_proc_DA": "0"}
        for fold in FOLDS:
            train(folder / f"{plans}.json", fold, options.steps)
        os.environ |= {"nnUNet_n_proc_DA": "1"}


if __name__ == "__main__":
    main()
