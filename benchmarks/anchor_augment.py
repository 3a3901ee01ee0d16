"""nnU-Net v2's default augmentation, timed; run by ``bench_augment.py`` in nnU-Net's own environment.

Prints the size of the patch that its reader has to deliver with the seconds of every draw, as JSON.
"""

import json
import sys
import time

import numpy as np
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

ANGLE = (-np.pi / 6, np.pi / 6)


def main(channels: int, draws: int, seed: int, *patch: int) -> None:
    torch.set_num_threads(1)
    np.random.seed(seed)
    torch.manual_seed(seed)
    transforms = nnUNetTrainer.get_training_transforms(patch, ANGLE, None, (0, 1, 2), False)
    initial = [int(n) for n in get_patch_size(patch, ANGLE, ANGLE, ANGLE, (0.85, 1.25))]
    box = torch.from_numpy(np.random.default_rng(0).normal(size=(channels, *initial)).astype(np.float32))
    label = torch.zeros((1, *initial), dtype=torch.int16)
    label[:, 20:60, 40:150, 50:140] = 1
    label[:, 30:50, 60:100, 70:110] = 2
    for one in transforms.transforms:  # every transform once: the blur's first uses look for the fastest kernel
        inner = getattr(one, "transform", one)
        for _ in range(4 if isinstance(inner, GaussianBlurTransform) else 1):
            inner(image=box.clone(), segmentation=label.clone())
    seconds = []
    with torch.no_grad():
        for _ in range(draws):
            image, segmentation = box.clone(), label.clone()
            start = time.perf_counter()
            out = transforms(image=image, segmentation=segmentation)
            seconds.append(time.perf_counter() - start)
    assert tuple(out["image"].shape) == (channels, *patch)
    sys.stdout.write(json.dumps({"initial": initial, "seconds": seconds}))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
