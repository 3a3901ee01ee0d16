"""A test scan of every rotation, new weights and recipe: python overlays.py <outputs>/chaos/1_patients <half>.

The picture goes beside the runs, since the scans may not be passed on.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from run import BASE, NEW, PAIRS, Run

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
LABELS = {"chaos": 4, "acdc": 1}  # in the files, of the target
ARMS = {NEW: "#ffb000", BASE: "#3fa7ff"}
DPI = 90


def main() -> None:
    root, half = Path(sys.argv[1]).absolute(), sys.argv[2]
    rates = json.loads(RESULTS.read_text())["tables"][f"{root.parent.name}/{root.name}"]["val_dice_by_rate"]
    rotations = len(PAIRS[root.parent.name].rotations)
    figure, axes = plt.subplots(1, rotations, figsize=(4.2 * rotations, 4.6), layout="constrained")
    for rotation, axis in enumerate(axes):
        runs = {arm: Run(arm, int(half), rotation, next(iter(rates[arm]))) for arm in ARMS}
        folders = {arm: run.folder(root) for arm, run in runs.items()}
        found = {arm: json.loads((folder / "evaluation/cases.json").read_text()) for arm, folder in folders.items()}
        draw(axis, found[NEW][0]["case_id"], LABELS[root.parent.name], folders, found)
    figure.savefig(root / f"overlays_half{half}.png", dpi=DPI, bbox_inches="tight")


def draw(axis: plt.Axes, case: str, label_value: int, folders: dict[str, Path], found: dict[str, list[dict]]) -> None:
    """The axial plane that cuts most of the target: white the reference, in colour the two networks."""
    title = case
    for number, (arm, rows) in enumerate(found.items()):
        (row,) = [row for row in rows if row["case_id"] == case]
        image, label, predicted = (
            np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)[::-1]
            for path in (row["images"][0], row["label"], folders[arm] / "evaluation" / row["prediction"])
        )
        reference, predicted = label == label_value, predicted == 1
        z = int(np.argmax(reference.sum((0, 1))))
        if number == 0:
            axis.imshow(image[:, :, z].T, cmap="gray", origin="lower", vmax=np.percentile(image, 99.5))
            axis.contour(reference[:, :, z].T, levels=[0.5], colors="white", linewidths=1.2)
        if predicted[:, :, z].any():
            axis.contour(predicted[:, :, z].T, levels=[0.5], colors=ARMS[arm], linewidths=1.4)
        dice = 2 * np.sum(reference & predicted) / max(1, np.sum(reference) + np.sum(predicted))
        title += f"\n{arm} {dice:.3f}"
    axis.set_title(title, fontsize=9)
    axis.axis("off")


if __name__ == "__main__":
    main()
