"""Augmentation of one patch on one core, from the reader's box to the finished patch, against batchgeneratorsv2 0.3.6.

The same recipe (conf/augment/nnunet.yaml is nnU-Net's), the true probabilities, each side its own input: ours the box
that the draw needs, nnU-Net's trainer always the enlarged patch. The anchor runs in an environment of its own:

    python -m venv nnunet_env && nnunet_env/bin/pip install torch==2.13.0 nnunetv2==2.8.1
    python benchmarks/bench_augment.py --nnunet-python nnunet_env/bin/python
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

from record import one_core, record

one_core()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from uniseg.sampling.augment.recipe import AugmentRecipe  # noqa: E402
from uniseg.sampling.augment.spatial import box_margin  # noqa: E402
from uniseg.sampling.batch import RawBatch  # noqa: E402
from uniseg.sampling.patches import make_batch  # noqa: E402
from uniseg.sampling.requests import PatchRequest  # noqa: E402

PATCH = (64, 192, 192)
WARM_UP = 20
ROUNDS = 2  # ours and the anchor in turn


@torch.inference_mode()
def seconds_of_ours(recipe: AugmentRecipe, channels: int, draws: int, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    seconds = []
    for place in range(-WARM_UP, draws):
        augmentation = recipe.draw(rng, (False,) * channels)
        size = [n + 2 * m for n, m in zip(PATCH, box_margin(augmentation.matrix, PATCH), strict=True)]
        image, label = torch.randn(channels, *size), torch.zeros(size, dtype=torch.int16)
        label[20:60, 40:150, 50:140] = 1
        label[30:50, 60:100, 70:110] = 2
        raw = RawBatch([image], [label], [PatchRequest(0, "case", place + WARM_UP, False, augmentation, 0, 0)])
        start = time.perf_counter()
        batch = make_batch(raw, PATCH, recipe)
        if place >= 0:
            seconds.append(time.perf_counter() - start)
    assert batch.image.shape == (1, channels, *PATCH)
    return seconds


def seconds_of_anchor(python: Path, channels: int, draws: int, seed: int) -> list[float]:
    script = Path(__file__).with_name("anchor_augment.py")
    words = [python, script, channels, draws, seed, *PATCH]
    out = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--nnunet-python", type=Path, required=True, help="python of an environment with nnunetv2==2.8.1"
    )
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--draws", type=int, default=300, help="per side")
    parser.add_argument("--dry", action="store_true", help="ours alone, nothing recorded")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = AugmentRecipe()
    ours, anchor = [], []
    for number in range(ROUNDS):
        ours += seconds_of_ours(recipe, options.channels, options.draws // ROUNDS, number)
        if not options.dry:
            anchor += seconds_of_anchor(options.nnunet_python, options.channels, options.draws // ROUNDS, number)
    what = f"augmentation, {'x'.join(map(str, PATCH))}, {options.channels} modalities, one core"
    for name, statistic in (("mean", statistics.mean), ("median", statistics.median)):
        if options.dry:
            print(name, statistic(ours))  # noqa: T201
        else:
            record(f"{what}, {name}", statistic(ours), statistic(anchor), f"s a patch, {name} of {len(ours)} draws")


if __name__ == "__main__":
    main()
