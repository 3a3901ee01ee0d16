"""The median and the worst head: reference, uniseg, nnU-Net on the plane that cuts most of the reference."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from matplotlib.colors import ListedColormap
from study import Study

COLOURS = ListedColormap(["#ffb000", "#3fa7ff"])  # anterior, posterior
DPI = 100


def draw(study: Study, crops: Mapping[str, str], predictions: Mapping[str, Path], path: Path) -> None:
    """A row per crop, a column per label map, the scan first.

    Args:
        crops: what a row shows -> case id.
        predictions: tool -> folder of its label maps.
    """
    columns = 2 + len(predictions)
    figure, axes = plt.subplots(len(crops), columns, figsize=(3 * columns, 3.3 * len(crops)), layout="constrained")
    for row, (title, case_id) in zip(np.atleast_2d(axes), crops.items(), strict=True):
        image = canonical(study.image(case_id))
        reference = canonical(study.data / "labelsTr" / f"{case_id}.nii.gz")
        maps = {"reference": reference}
        maps |= {tool: canonical(folder / f"{case_id}.nii.gz") for tool, folder in predictions.items()}
        x = int(np.argmax((reference > 0).sum((1, 2))))  # sagittal: anterior and posterior lie side by side
        for axis, (name, labels) in zip(row, {"": None, **maps}.items(), strict=True):
            axis.imshow(image[x].T, cmap="gray", origin="lower", vmax=np.percentile(image, 99.5))
            if labels is not None:
                shown = np.ma.masked_equal(labels[x].T, 0)
                axis.imshow(shown, cmap=COLOURS, vmin=1, vmax=2, alpha=0.55, origin="lower", interpolation="nearest")
            axis.set_title(heading(title, case_id, name, labels, reference), fontsize=9)
            axis.axis("off")
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def heading(title: str, case_id: str, name: str, labels: np.ndarray | None, reference: np.ndarray) -> str:
    if labels is None:
        return f"{title}: {case_id}"
    return name if labels is reference else f"{name}, Dice {dice(labels, reference):.3f}"


def dice(labels: np.ndarray, reference: np.ndarray) -> float:
    """Mean over the two classes, of this crop."""
    pairs = [(labels == value, reference == value) for value in (1, 2)]
    return float(np.mean([2 * np.sum(a & b) / max(1, np.sum(a) + np.sum(b)) for a, b in pairs]))


def canonical(path: Path) -> np.ndarray:
    """In RAS."""
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)
