# ruff: noqa: SIM112 -- nnU-Net's variables are named so
"""nnU-Net's half: its fingerprint, plan, preprocessing, a training and its validation per fold; runs where nnunetv2 is.

    python nnunet_folds.py prepare|train <file of settings, JSON>

``run.py`` starts this with the interpreter that it is given, the folders of nnU-Net in the environment.
"""

import json
import os
import random
import sys
from pathlib import Path

import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess_dataset,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "hippocampus_vs_nnunet"))

from nnunet_side import CONFIGURATION, CPU, FittedTrainer, shrunk

SMALL = "smallPlans"


class FoldTrainer(FittedTrainer):
    """Without mirroring, in training and at prediction, as nnU-Net's own ``nnUNetTrainerNoMirroring``."""

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple:  # noqa: N802 -- nnU-Net's name
        *others, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None
        return (*others, None)


def prepare(data: str, name: str, folds: list[dict[str, list[str]]], spacing: list[float], small: dict) -> None:
    """All cases: fingerprint, default plan, the plan edited to ``small`` and ``spacing``, the preprocessed cases."""
    raw, folder = (Path(os.environ[f"nnUNet_{kind}"], name) for kind in ("raw", "preprocessed"))
    raw.mkdir(parents=True, exist_ok=True)
    for kind in ("imagesTr", "labelsTr", "dataset.json"):
        if not (raw / kind).exists():
            (raw / kind).symlink_to(Path(data, kind))
    number = int(name[7:10])
    extract_fingerprints([number], num_processes=1)
    (folder / "splits_final.json").write_text(json.dumps(folds))
    plan_experiments([number])
    plans = shrunk(json.loads((folder / "nnUNetPlans.json").read_text()), small)
    plans["configurations"][CONFIGURATION] |= {"spacing": spacing, "data_identifier": f"{SMALL}_{CONFIGURATION}"}
    (folder / f"{SMALL}.json").write_text(json.dumps(plans))
    preprocess_dataset(number, SMALL, (CONFIGURATION,), [1])


def train(name: str, fold: int, seed: int, length: dict[str, int], adamw: dict[str, float], record: str) -> None:
    """One fold, then the label maps of the cases that it holds out."""
    torch.set_num_threads(1)
    random.seed(seed)
    np.random.seed(seed)  # nnU-Net draws from NumPy's global state
    torch.manual_seed(seed)
    folder = Path(os.environ["nnUNet_preprocessed"], name)
    plans = json.loads((folder / f"{SMALL}.json").read_text()) | {"continue_training": False}
    trainer = FoldTrainer(plans, CONFIGURATION, fold, json.loads((folder / "dataset.json").read_text()), CPU)
    trainer.adamw = adamw
    trainer.fit(**length)
    trainer.perform_actual_validation()
    parameters = sum(weight.numel() for weight in trainer.network.parameters())
    Path(record).write_text(json.dumps({"epoch_seconds": trainer.seconds, "parameters": parameters}))


if __name__ == "__main__":
    {"prepare": prepare, "train": train}[sys.argv[1]](**json.loads(Path(sys.argv[2]).read_text()))
