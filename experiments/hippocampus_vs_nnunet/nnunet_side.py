# ruff: noqa: SIM112 -- nnU-Net's variables are named so
"""nnU-Net's half: its planner, preprocessing, trainer and predictor; runs where nnunetv2 is.

    python nnunet_side.py prepare|train|predict <file of settings, JSON>

``sides.py`` starts this with the interpreter that it is given, the folders of nnU-Net in the environment.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess_dataset,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

NAME, NUMBER = "Dataset004_Hippocampus", 4
CONFIGURATION = "3d_fullres"
CPU = torch.device("cpu")


class FittedTrainer(nnUNetTrainer):
    """nnU-Net's trainer, with the numbers of epochs and steps, and the AdamW, that it is told; it notes the seconds of
    every epoch.

    Its picture of the curves is left out: epochs here are so short that it would take a part of the time.
    """

    adamw: dict[str, float] | None = None

    def configure_optimizers(self) -> tuple:
        """nnU-Net's SGD, or AdamW with nnU-Net's schedule."""
        if self.adamw is None:
            return super().configure_optimizers()
        optimizer = torch.optim.AdamW(self.network.parameters(), **self.adamw)
        return optimizer, PolyLRScheduler(optimizer, self.adamw["lr"], self.num_epochs)

    def fit(self, epochs: int, steps: int, val_steps: int) -> None:
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = epochs, steps, val_steps
        self.seconds: list[float] = []
        self.logger.plot_progress_png = lambda folder: None
        self.run_training()

    def on_epoch_start(self) -> None:
        self.epoch_start = time.perf_counter()
        super().on_epoch_start()

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        self.seconds.append(time.perf_counter() - self.epoch_start)


def prepare(data: str, splits: dict[str, list[str]], small: dict) -> None:
    """Train and val heads alone: fingerprint, default plan, the plan edited to ``small``, the preprocessed cases."""
    raw, folder = (Path(os.environ[f"nnUNet_{name}"], NAME) for name in ("raw", "preprocessed"))
    names = [*splits["train"], *splits["val"]]
    for kind, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        (raw / kind).mkdir(parents=True, exist_ok=True)
        for name in names:
            link = raw / kind / f"{name}{ending}"
            if not link.exists():
                link.symlink_to(Path(data, kind, link.name))
    description = json.loads(Path(data, "dataset.json").read_text()) | {"numTraining": len(names)}
    (raw / "dataset.json").write_text(json.dumps(description))
    extract_fingerprints([NUMBER], num_processes=1)
    (folder / "splits_final.json").write_text(json.dumps([{key: splits[key] for key in ("train", "val")}]))
    plan_experiments([NUMBER])
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    (folder / "smallPlans.json").write_text(json.dumps(shrunk(plans, small)))
    preprocess_dataset(NUMBER, "nnUNetPlans", (CONFIGURATION,), [1])


def shrunk(plans: dict, small: dict) -> dict:
    """The plans with stages, widths, kernels, patch and batch of ``small``; the preprocessed cases stay the same."""
    configuration = plans["configurations"][CONFIGURATION] | {
        "patch_size": small["patch_size"],
        "batch_size": small["batch_size"],
    }
    num_stages = len(small["channels"])
    numbers = configuration["architecture"]["arch_kwargs"] | {
        "n_stages": num_stages,
        "features_per_stage": small["channels"],
        "strides": [[1, 1, 1], *small["strides"]],
        "kernel_sizes": small["kernels"],
        "n_conv_per_stage": [2] * num_stages,
        "n_conv_per_stage_decoder": [2] * (num_stages - 1),
    }
    configuration["architecture"] |= {"arch_kwargs": numbers}
    return plans | {"plans_name": "smallPlans", "configurations": {CONFIGURATION: configuration}}


def new_trainer(plans: str, seed: int, threads: int | None) -> FittedTrainer:
    """Threads as of ``nnUNetv2_train -device cpu`` where None."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    random.seed(seed)
    np.random.seed(seed)  # nnU-Net draws from NumPy's global state
    torch.manual_seed(seed)
    folder = Path(os.environ["nnUNet_preprocessed"], NAME)
    contents = json.loads((folder / f"{plans}.json").read_text()) | {"continue_training": False}
    description = json.loads((folder / "dataset.json").read_text())
    return FittedTrainer(contents, CONFIGURATION, 0, description, CPU)


def train(
    plans: str, seed: int, threads: int | None, length: dict[str, int], adamw: dict[str, float] | None, record: str
) -> None:  # fmt: skip
    trainer = new_trainer(plans, seed, threads)
    trainer.adamw = adamw
    trainer.fit(**length)
    parameters = sum(weight.numel() for weight in trainer.network.parameters())
    numbers = trainer.configuration_manager.configuration["architecture"]["arch_kwargs"]
    found = {
        "epoch_seconds": trainer.seconds,
        "parameters": parameters,
        "patch_size": list(trainer.configuration_manager.patch_size),
        "batch_size": trainer.configuration_manager.batch_size,
        "channels": numbers["features_per_stage"],
    }
    Path(record).write_text(json.dumps(found))


def predict(plans: str, seed: int, threads: int | None, images: list[str], output: str) -> None:
    """As nnU-Net predicts by default: half-overlapping windows, all axes mirrored."""
    trainer = new_trainer(plans, seed, threads)
    trainer.load_checkpoint(str(Path(trainer.output_folder, "checkpoint_final.pth")))
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    if not trainer.inference_allowed_mirroring_axes:
        raise ValueError("the checkpoint names no axes to mirror")
    predictor = nnUNetPredictor(device=CPU, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    Path(output).mkdir(parents=True, exist_ok=True)
    targets = [str(Path(output, Path(image).name.removesuffix("_0000.nii.gz"))) for image in images]
    predictor.predict_from_files_sequential([[image] for image in images], targets)


if __name__ == "__main__":
    {"prepare": prepare, "train": train, "predict": predict}[sys.argv[1]](**json.loads(Path(sys.argv[2]).read_text()))
