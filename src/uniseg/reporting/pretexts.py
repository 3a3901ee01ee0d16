"""Pictures of pretext tasks: a patch, what the network saw of it, what it gave back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uniseg.evaluation.reconstruction_file import ReconstructedPatch
from uniseg.reporting.markup import plain
from uniseg.reporting.overlays import PLANES, Plane
from uniseg.run_folder import RunFolder

PLANE_INCHES, MARGIN_INCHES = 2.3, 0.5
HIDDEN = "#3d5a80"
PERCENTILES = (1, 99)  # of the patch: dark, bright
ROWS = ("patch", "what the network saw", "given back where hidden")


def reconstruction_figures(run_dir: Path) -> Iterator[tuple[str, str, Figure]]:
    """Name, caption, figure of every pretext task that gives values back; nothing for a run without.

    Raises:
        InputError: a file is malformed.
    """
    for path in sorted(RunFolder(run_dir).reconstructions.glob("*.npz")):
        if patch := ReconstructedPatch.load(path):
            name = patch.tasks[0]
            caption = (
                f"{name} after step {int(patch.step)}: a validation patch of {patch.case_id}, with blocks hidden "
                "(blue) and with what the network gives back in their place."
            )
            yield f"pretext_{name}", caption, reconstruction_figure(patch)


def reconstruction_figure(patch: ReconstructedPatch) -> Figure:
    """A row per picture of ``ROWS``, a column per plane."""
    sizes = [
        [cut.shape[1:][k] * mm for k, mm in enumerate(_mm(patch, plane))]
        for cut, plane in zip(patch.cuts, PLANES, strict=True)
    ]
    widths, tallest = [width for _, width in sizes], max(height for height, _ in sizes)
    scale = PLANE_INCHES / max(*widths, tallest)
    size = (sum(widths) * scale + 2 * MARGIN_INCHES, len(ROWS) * (tallest * scale + 0.15) + MARGIN_INCHES)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(ROWS), len(PLANES), width_ratios=widths, squeeze=False)
    low, high = np.percentile(np.concatenate([cut[0].ravel() for cut in patch.cuts]).astype(np.float32), PERCENTILES)
    limits = (float(low), max(float(high), float(low) + 1e-6))
    for column, (cut, plane) in enumerate(zip(patch.cuts, PLANES, strict=True)):
        whole, seen, given, hidden = cut.astype(np.float32)
        is_hidden = hidden > 0
        pictures = (
            whole,
            np.ma.masked_array(seen, is_hidden),
            np.where(is_hidden, given, seen),
        )
        for row, picture in enumerate(pictures):
            _draw(grid[row, column], picture, plane, limits, _mm(patch, plane))
        grid[0, column].set_title(plane.name, fontsize=9)
    for axes, name in zip(grid[:, 0], ROWS, strict=True):
        axes.set_ylabel(name, fontsize=8)
    figure.suptitle(plain(f"{patch.tasks[0]}: {patch.case_id}, {patch.modality}"), fontsize=10)
    return figure


def _mm(patch: ReconstructedPatch, plane: Plane) -> tuple[float, float]:
    return float(patch.spacing_mm[plane.rows]), float(patch.spacing_mm[plane.columns])


def _draw(
    axes: Axes, picture: np.ndarray, plane: Plane, limits: tuple[float, float], spacing_mm: tuple[float, float]
) -> None:
    axes.set_facecolor(HIDDEN)
    origin = "lower" if plane.rows_up else "upper"
    grey = {"cmap": "gray", "vmin": limits[0], "vmax": limits[1], "interpolation": "nearest"}
    axes.imshow(picture, origin=origin, aspect=spacing_mm[0] / spacing_mm[1], **grey)
    axes.set_xticks([])
    axes.set_yticks([])
