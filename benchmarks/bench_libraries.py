"""What stable libraries offer for 3D augmentation, one 64x192x192 scan on one core: why the project has its own.

Prints medians; kornia and torchio are wanted for this alone:

    pip install kornia==0.9.0 torchio==1.2.1
    python benchmarks/bench_libraries.py
"""

import statistics
import sys
import time
from collections.abc import Callable

from record import one_core

one_core()

import kornia.augmentation as kornia  # noqa: E402
import monai.transforms as monai  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torchio  # noqa: E402

PATCH = (64, 192, 192)
ROUNDS = 5


def median_ms(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    torch.set_num_threads(1)
    image, label = torch.randn(1, 1, *PATCH), torch.zeros(1, 1, *PATCH, dtype=torch.int16)
    label[..., 20:60, 40:150, 50:140] = 1
    subject = torchio.Subject(image=torchio.ScalarImage(tensor=image[0]), label=torchio.LabelMap(tensor=label[0]))
    pair = {"image": image[0], "label": label[0]}
    thirty = np.pi / 6
    batched = kornia.RandomAffine3D(degrees=(30, 30, 30), scale=(0.7, 1.4), p=1.0)
    dictionary = monai.RandAffined(
        keys=["image", "label"],
        prob=1.0,
        rotate_range=[thirty] * 3,
        scale_range=[(-0.3, 0.4)] * 3,
        mode=("bilinear", "nearest"),
        spatial_size=PATCH,
    )
    affine = torchio.RandomAffine(scales=(0.7, 1.4), degrees=30, isotropic=True, image_interpolation="linear")
    smooth = monai.RandGaussianSmooth(prob=1.0, sigma_x=(0.5, 1.0), sigma_y=(0.5, 1.0), sigma_z=(0.5, 1.0))
    rows = {
        "kornia, affine, batched, image alone": lambda: batched(image),
        "MONAI, affine, one sample, image with label": lambda: dictionary(dict(pair)),
        "TorchIO, affine, one sample, image with label": lambda: affine(subject),
        "MONAI, noise": lambda: monai.RandGaussianNoise(prob=1.0, std=0.05)(image[0].clone()),
        "TorchIO, noise": lambda: torchio.RandomNoise(std=(0.05, 0.05))(subject),
        "MONAI, blur": lambda: smooth(image[0].clone()),
        "TorchIO, blur": lambda: torchio.RandomBlur(std=(0.5, 1.0))(subject),
    }
    for name, work in rows.items():
        sys.stdout.write(f"{name}: {median_ms(work):.0f} ms\n")


if __name__ == "__main__":
    main()
