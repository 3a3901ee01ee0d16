"""A slice of one patient at three sites: truth, answers of the base and of its like that was trained with GIN.

python experiments/adaptation/overlay.py outputs/demo/checkpoints/last.ckpt outputs/demo_gin/checkpoints/last.ckpt
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from run import TASK, make_scan

from uniseg.images.files import read_label, read_volume
from uniseg.inference.predictor import Predictor

mpl.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
LINES = {"truth": ("white", "solid"), "base": ("tab:orange", "dashed"), "trained with GIN": ("tab:cyan", "dotted")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("gin", type=Path)
    parser.add_argument("--levels", type=int, nargs=3, default=[0, 3, 5])
    parser.add_argument("--outputs", type=Path, default=Path("outputs/adaptation"))
    parser.add_argument("--picture", type=Path, default=HERE / "sites.png")
    options = parser.parse_args()
    predictors = [Predictor.from_pretrained(path) for path in (options.base, options.gin)]
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.6))
    for ax, level in zip(axes, options.levels, strict=True):
        image, label = make_scan(options.outputs, level, 0)
        volume, truth = read_volume([image]), read_label(label, image)
        answers = [predictor.predict(volume, [TASK])[TASK] for predictor in predictors]
        z = int(np.argmax((truth > 0).sum((1, 2))))
        ax.imshow(volume.array[0, z], cmap="gray", aspect=volume.spacing_mm[1] / volume.spacing_mm[2])
        for (name, (colour, style)), map_ in zip(LINES.items(), (truth, *answers), strict=True):
            if map_[z].any():
                ax.contour(map_[z] > 0, [0.5], colors=colour, linestyles=style, linewidths=1.5)
            ax.plot([], [], color=colour, linestyle=style, label=name)
        ax.set_title(f"{TASK}, site {level}", fontsize=9)
        ax.axis("off")
    axes[0].legend(fontsize=7, loc="lower left", facecolor="gray")
    figure.tight_layout()
    figure.savefig(options.picture, dpi=90)


if __name__ == "__main__":
    main()
