"""The same test scan by several few-shot runs: python overlays.py <sweep folder> <case> <run> [<run> ...]."""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np

HERE = Path(__file__).parent
COLOURS = ("#ffb000", "#3fa7ff")
DPI = 90


def main() -> None:
    sweep, case, *runs = sys.argv[1:]
    figure, axes = plt.subplots(1, len(runs), figsize=(3.2 * len(runs), 3.6), layout="constrained")
    for axis, run in zip(axes, runs, strict=True):
        folder = Path(sweep) / run / "evaluation"
        (row,) = [row for row in json.loads((folder / "cases.json").read_text()) if row["case_id"] == case]
        image, label, found = (
            np.asarray(nib.load(path).dataobj) for path in (row["images"][0], row["label"], folder / row["prediction"])
        )
        x = int(np.argmax((label > 0).sum((1, 2))))  # the sagittal plane that cuts most of the hippocampus
        axis.imshow(image[x].T, cmap="gray", origin="lower")
        for value, colour in enumerate(COLOURS, start=1):
            for array, style in ((label, "solid"), (found, "dashed")):
                if (array[x] == value).any():
                    axis.contour((array[x] == value).T, levels=[0.5], colors=colour, linestyles=style, linewidths=1.4)
        dice = [
            2 * np.sum((label == v) & (found == v)) / max(1, np.sum(label == v) + np.sum(found == v)) for v in (1, 2)
        ]
        axis.set_title(f"{run}\nDice {np.mean(dice):.3f}", fontsize=9)
        axis.axis("off")
    figure.savefig(HERE / "overlays.png", dpi=DPI)


if __name__ == "__main__":
    main()
