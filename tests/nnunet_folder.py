"""A folder as nnU-Net's trainer leaves it."""

import json
from pathlib import Path

import torch

FILES = Path(__file__).parent / "weights/nnunet"


def trained(results: Path, name: str = "plain", configuration: str = "3d_lowres", folds=("0", "1")) -> Path:
    """The folder of one configuration, each fold the network of ``nnunet/<name>.pth``."""
    folder = results / f"Dataset123_{name}" / f"nnUNetTrainer__nnUNetPlans__{configuration}"
    content = torch.load(FILES / f"{name}.pth", weights_only=False)
    content["inference_allowed_mirroring_axes"] = (0, 2)
    content["init_args"]["configuration"] = configuration
    for number, fold in enumerate(folds):
        (folder / f"fold_{fold}").mkdir(parents=True)
        content["network_weights"]["decoder.seg_layers.1.bias"][0] = number
        torch.save(content, folder / f"fold_{fold}" / "checkpoint_final.pth")
    plans, dataset = (content["init_args"][key] for key in ("plans", "dataset_json"))
    plans["configurations"]["2d"] = {"patch_size": [16, 24], "spacing": [1.0, 1.0]}
    for file, values in (("plans.json", plans), ("dataset.json", dataset)):
        (folder / file).write_text(json.dumps(values))
    return folder
