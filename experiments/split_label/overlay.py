"""Three test heads with both parts as each network finds them, asked for one after the other.

UNISEG_DATA=<folder of hippocampus_msd> python experiments/split_label/overlay.py outputs/split_label/300_steps/20_heads
"""

import argparse
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from arms import PARTS
from matplotlib.axes import Axes

from uniseg.images.files import read_label, read_volume

HEADS = slice(3, 6)  # of the test crops in order
ARMS = {"uniseg": "UniSeg", "per_task_heads": "per-task heads", "dodnet": "DoDNet", "not_told": "not told"}
COLOURS = {1: "red", 2: "cyan"}


def predicted(root: Path, arm: str, name: str) -> np.ndarray:
    """1 anterior, 2 posterior; where both are claimed, anterior."""
    (run,) = root.glob(f"{arm}/lr*/anterior_posterior_seed0")
    paths = [run / f"evaluation/predictions/hippocampus_{part}/{name}" for part in PARTS]
    anterior, posterior = (read_label(path, [path]) > 0 for path in paths)
    return np.where(anterior, 1, 2 * posterior)


def draw(axes: Axes, image: np.ndarray, label: np.ndarray | None, title: str) -> None:
    axes.imshow(image, cmap="gray", origin="lower")
    for value, colour in COLOURS.items() if label is not None else ():
        axes.contour(label == value, [0.5], colors=colour, linewidths=1)
    axes.set_title(title, fontsize=8)
    axes.axis("off")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="of one number of labelled heads")
    root = parser.parse_args().root
    data = Path(os.environ.get("UNISEG_DATA", "data")) / "hippocampus_msd"
    names = sorted(
        path.name for path in root.glob("uniseg/lr*/*seed0/evaluation/predictions/hippocampus_anterior/*.nii.gz")
    )
    figure, axes = plt.subplots(3, 2 + len(ARMS), figsize=(10, 5.4))
    for row, name in zip(axes, names[HEADS], strict=True):
        path = data / "imagesTr" / name.replace(".nii.gz", "_0000.nii.gz")
        image, truth = read_volume([path]).array[0], read_label(data / "labelsTr" / name, [path])
        x = int(np.argmax((truth == 1).sum((0, 1)) * (truth == 2).sum((0, 1))))  # a sagittal slice with both parts
        draw(row[0], image[..., x], None, name.removesuffix(".nii.gz"))
        draw(row[1], image[..., x], truth[..., x], "truth")
        for place, (arm, title) in zip(row[2:], ARMS.items(), strict=True):
            draw(place, image[..., x], predicted(root, arm, name)[..., x], title)
    figure.tight_layout()
    figure.savefig(Path(__file__).parent / "overlay.jpg", dpi=80)


if __name__ == "__main__":
    main()
