"""Of every fold the scan that uniseg segments worst, beside nnU-Net: python overlays.py <outputs>/chaos/30_epochs.

The picture goes beside the runs, since the scans may not be passed on.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from run import NNUNET, SETS, UNISEG

from uniseg.evaluation.case_record import read_cases
from uniseg.evaluation.other_folds import validation_maps
from uniseg.evaluation.records import read_scores
from uniseg.run_folder import CrossvalFolder

COLOURS = ["#ffb000", "#3fa7ff", "#7ac943", "#ff5f5f"]  # of the classes, in the order of the labels
DPI = 80


def main() -> None:
    root = Path(sys.argv[1]).absolute()
    scans, folder = SETS[root.parent.name], CrossvalFolder(root / "uniseg")
    theirs = validation_maps(root / "nnunet" / scans.nnunet_name)
    figure, axes = plt.subplots(2, scans.num_folds, figsize=(4 * scans.num_folds, 8.6), layout="constrained")
    for fold, column in enumerate(axes.T):
        evaluation = folder.fold(fold).evaluation("val")
        rows = read_scores(evaluation.scores)
        by_case = {name: [row.dice for row in rows if row.case_id == name] for name in {row.case_id for row in rows}}
        worst = min(by_case, key=lambda name: np.nanmean(by_case[name]))
        (record,) = [each for each in read_cases(evaluation) if each.case.case_id == worst]
        for axis, (tool, path) in zip(
            column, {UNISEG: record.prediction, NNUNET: theirs[worst][1]}.items(), strict=True
        ):
            draw(axis, record.case.image_paths[0], record.case.label_files[0], path)
            axis.set_title(f"{worst}, {tool}", fontsize=9)
    figure.savefig(root / "overlays.png", dpi=DPI, bbox_inches="tight")


def draw(axis: plt.Axes, *paths: Path) -> None:
    """The axial plane that cuts most of the reference: dashed the reference, solid the answer."""
    image, label, predicted = (np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)[::-1] for path in paths)
    z = int(np.argmax((label > 0).sum((0, 1))))
    axis.imshow(image[:, :, z].T, cmap="gray", origin="lower", vmax=np.percentile(image, 99.5))
    for value, colour in enumerate(COLOURS, 1):
        for labels, style in ((label, "dashed"), (predicted, "solid")):
            plane = (labels == value)[:, :, z].T
            if plane.any():
                axis.contour(plane, levels=[0.5], colors=colour, linestyles=style, linewidths=1.1)
    axis.axis("off")


if __name__ == "__main__":
    main()
