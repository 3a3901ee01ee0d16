"""Makes the checkpoints beside it with nnU-Net's own networks; wants dynamic-network-architectures 0.4.4."""

from pathlib import Path

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

FOLDER = Path(__file__).parent
SHAPE = {
    "n_stages": 3,
    "features_per_stage": [4, 6, 8],
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "conv_op": nn.Conv3d,
    "conv_bias": True,
    "norm_op": nn.InstanceNorm3d,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
    "deep_supervision": True,
}
PLAIN_LABELS = {"background": 0, "liver": 1, "tumour": 2}
REGION_LABELS = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
CT = {"percentile_00_5": -55.0, "percentile_99_5": 140.0, "mean": 72.0, "std": 38.0}


def main() -> None:
    torch.manual_seed(0)
    plain = PlainConvUNet(input_channels=1, num_classes=3, n_conv_per_stage=2, n_conv_per_stage_decoder=2, **SHAPE)
    residual = ResidualEncoderUNet(
        input_channels=2, num_classes=2, n_blocks_per_stage=[1, 2, 1], n_conv_per_stage_decoder=1, **SHAPE
    )
    write(plain, "plain", ["CT"], PLAIN_LABELS, "CTNormalization", transpose=[1, 0, 2])
    write(residual, "residual", ["T1", "FLAIR"], REGION_LABELS, "ZScoreNormalization", transpose=[0, 1, 2])


def write(network: nn.Module, name: str, channels: list[str], labels: dict, scheme: str, transpose: list[int]) -> None:
    """``<name>.pth`` as nnU-Net's trainer writes it;

    ``<name>.npz`` with an image and its logits, finest first, axes as the network has them.
    """
    for parameter in network.parameters():
        nn.init.normal_(parameter, mean=0.1, std=0.4)
    facts = CT if scheme == "CTNormalization" else dict.fromkeys(CT, float("nan"))
    plans = {
        "dataset_name": f"Dataset123_{name}",
        "transpose_forward": transpose,
        "foreground_intensity_properties_per_channel": {str(k): facts for k in range(len(channels))},
        "configurations": {
            "3d_fullres": {
                "patch_size": [8, 16, 24],
                "spacing": [3.0, 1.0, 0.5],
                "normalization_schemes": [scheme] * len(channels),
                "use_mask_for_norm": [True] * len(channels),
            },
            "3d_lowres": {"inherits_from": "3d_fullres", "spacing": [6.0, 2.0, 1.0]},
        },
    }
    dataset = {
        "channel_names": {str(k): channel for k, channel in enumerate(channels)},
        "labels": labels,
        "licence": "CC BY 4.0",
    }
    content = {
        "network_weights": network.state_dict(),
        "logging": {"ema_fg_dice": [np.float64(0.5), np.float32(0.6)]},
        "_best_ema": np.float64(0.6),
        "current_epoch": 1000,
        "init_args": {
            "plans": plans,
            "configuration": "3d_lowres",
            "fold": 0,
            "dataset_json": dataset,
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer",
    }
    torch.save(content, FOLDER / f"{name}.pth")
    image = torch.randn(1, len(channels), 8, 16, 24)
    with torch.no_grad():
        logits = network.eval()(image)
    np.savez(FOLDER / f"{name}.npz", image=image, **{f"logits_{i}": level for i, level in enumerate(logits)})


if __name__ == "__main__":
    main()
