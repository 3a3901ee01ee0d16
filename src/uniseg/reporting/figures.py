"""Charts of a run: learning curves, spread of Dice over cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from uniseg.reporting.markup import plain
from uniseg.reporting.run import Run, TaskResult
from uniseg.reporting.run_files import Curve

WIDTH_INCHES, PANEL_INCHES, BOX_INCHES = 11.0, 2.5, 0.32
COLUMNS = 3
MARKED = 40  # curves of fewer epochs show their points
MOST_NAMED = 8  # lines that a legend names
VAL_LOSS = "val/loss/"
BLUE, RED, GREY = "#2563a8", "#d1352b", "#8a929c"


@dataclass(frozen=True)
class Panel:
    """One small chart over epochs: named lines.

    Examples:
        >>> len(curve_figure([Panel("liver", (("train", Curve((0, 1), (0.9, 0.5))),))], "loss", None).axes)
        1
    """

    title: str
    lines: tuple[tuple[str, Curve], ...]


def loss_panels(run: Run) -> list[Panel]:
    """The overall loss of train and val, then the training loss per task; what was not logged is left out."""
    keys = [("all tasks", [("train", "train/loss"), ("val", "val/loss")])]
    keys += [(task.name, [("train", f"train/loss/{task.name}")]) for task in run.tasks]
    # Only of pretext tasks, of which a loss is all there is, is that of the validation logged for each.
    pretexts = [key.removeprefix(VAL_LOSS) for key in run.curves if key.startswith(VAL_LOSS)]
    keys += [(name, [(split, f"{split}/loss/{name}") for split in ("train", "val")]) for name in pretexts]
    return _panels(keys, run.curves)


def dice_panels(run: Run) -> list[Panel]:
    """Pseudo-Dice on the validation patches: the mean, then each task by class; what was not logged is left out."""
    keys = [("all tasks", [("mean", "val/pseudo_dice")])]
    keys += [(task.name, [(c, f"val/pseudo_dice/{task.name}/{c}") for c in task.class_names]) for task in run.tasks]
    return _panels(keys, run.curves)


def curve_figure(panels: Sequence[Panel], quantity: str, limits: tuple[float, float] | None) -> Figure:
    """Small multiples over a common range of epochs; ``limits`` of the vertical axis, that of each panel where None."""
    columns = min(COLUMNS, len(panels))
    rows = ceil(len(panels) / columns)
    engine = ConstrainedLayoutEngine(hspace=0.06, wspace=0.04)
    figure = Figure(figsize=(WIDTH_INCHES * max(columns, 2) / COLUMNS, PANEL_INCHES * rows), layout=engine)
    last = max(curve.epochs[-1] for panel in panels for _, curve in panel.lines)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw_curves(axes, panel)
        axes.set_xlim(-0.5, last + 0.5)
        axes.set_ylim(*(limits or axes.get_ylim()))
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in grid[::columns]:
        axes.set_ylabel(quantity)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return figure


def box_figure(tasks: Sequence[TaskResult]) -> Figure:
    """Dice of every case: a row per class, a chart per task; the red tick is the mean of the majority-vote baseline."""
    counts = [len(task.class_names) for task in tasks]
    height = BOX_INCHES * sum(counts) + 0.5 * len(tasks) + 0.6
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    for axes, task in zip(
        figure.subplots(len(tasks), 1, sharex=True, squeeze=False, height_ratios=[n + 0.6 for n in counts])[:, 0],
        tasks,
        strict=True,
    ):
        _draw_boxes(axes, task)
    axes.set_xlabel("Dice of a case")
    return figure


def _panels(keys: Sequence[tuple[str, list[tuple[str, str]]]], curves: Mapping[str, Curve]) -> list[Panel]:
    panels = [Panel(title, tuple((name, curves[key]) for name, key in lines if key in curves)) for title, lines in keys]
    return [panel for panel in panels if panel.lines]


def _draw_curves(axes: Axes, panel: Panel) -> None:
    for name, curve in panel.lines:
        axes.plot(
            curve.epochs, curve.values, lw=1.4, marker="." if len(curve.epochs) < MARKED else None, label=plain(name)
        )
    axes.set_title(plain(panel.title), fontsize=10)
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if len(panel.lines) <= MOST_NAMED:
        axes.legend(fontsize=7, frameon=False, loc=_free_corner(panel))


def _free_corner(panel: Panel) -> str:
    """Where curves that fall, or rise, leave room; matplotlib's own search warns where a machine is slow."""
    values = panel.lines[0][1].values
    return "upper right" if values[-1] < values[0] else "lower right"


def _draw_boxes(axes: Axes, task: TaskResult) -> None:
    rows = np.arange(len(task.class_names))
    columns = [[case.scores[k].dice for case in task.cases] for k in rows]
    axes.boxplot(
        columns,
        positions=rows,
        orientation="horizontal",
        widths=0.6,
        showfliers=False,
        medianprops={"color": BLUE, "lw": 1.8},
        boxprops={"color": GREY},
        whiskerprops={"color": GREY},
        capprops={"color": GREY},
    )
    for row, values, result in zip(rows, columns, task.summary.classes.values(), strict=True):
        spread = row + np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else [row]
        axes.scatter(values, spread, s=14, color=BLUE, alpha=0.55, linewidths=0, zorder=3)
        axes.vlines(result.baseline_dice, row - 0.38, row + 0.38, color=RED, lw=2.2, zorder=4)
    axes.set_yticks(rows, [plain(name) for name in task.class_names], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_title(f"{plain(task.name)} (n = {len(task.cases)})", fontsize=10, loc="left")
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
