"""Charts of the comparison."""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from jobs import NAMES
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from results import ArmScores

COLOURS = (
    "#2563a8", "#7fb2e5", "#12356b", "#5bc0c8", "#d1352b", "#8f1d16", "#e8853d", "#f2b84b", "#3f9b57", "#9ccf5a",
    "#a8577e", "#8a929c", "#7d4aa8", "#111111",
)  # fmt: skip
DARK_CELL = 0.6  # of the colour map; white letters from there on


def label_of(name: str) -> str:
    """A task without the suite's prefix."""
    return name.removeprefix("phantom_").replace("_", " ")


def dice_figure(arms: Sequence[ArmScores]) -> Figure:
    """A row per task, a dot per arm at the mean over seeds, a line from the lowest seed to the highest; the tick is
    majority vote.
    """
    rows = [*NAMES, "mean"]
    figure = Figure(figsize=(8.5, 13), layout="constrained")
    axes = figure.subplots()
    for k, (scores, colour) in enumerate(zip(arms, cycle(COLOURS), strict=False)):
        offset = (k - (len(arms) - 1) / 2) * 0.8 / len(arms)
        points = [(i, task_scores.seed_means) for i, name in enumerate(NAMES) if (task_scores := scores.on(name))]
        points += [] if scores.overall is None else [(len(NAMES), scores.overall)]
        means = np.array([values.mean() for _, values in points])
        reach = np.abs([(values.mean() - values.min(), values.max() - values.mean()) for _, values in points]).T
        axes.errorbar(
            means,
            [i + offset for i, _ in points],
            xerr=reach,
            fmt="o",
            ms=4,
            lw=1.2,
            color=colour,
            label=scores.arm.title,
        )
    _draw_baseline(axes, arms[0])
    axes.set_yticks(range(len(rows)), [label_of(name) for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for edge in range(1, len(rows)):
        axes.axhline(edge - 0.5, color="#d8dce0", lw=0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("test Dice: mean, lowest and highest of the seeds")
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return figure


def _draw_baseline(axes: Axes, scores: ArmScores) -> None:
    baseline = [task_scores.baseline.mean() for task_scores in scores.tasks]
    axes.plot(
        [*baseline, np.mean(baseline)],
        range(len(baseline) + 1),
        "|",
        ms=22,
        mew=1.4,
        color="#b0b6bd",
        label="majority vote",
        zorder=0,
    )


def matrix_figure(matrix: np.ndarray) -> Figure:
    """Heat map of Dice ``[datasets, predicted tasks]``; NaN is left white."""
    names = [label_of(name) for name in NAMES]
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if value > DARK_CELL else "black",
            )
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted task")
    axes.set_ylabel("scans of the dataset")
    figure.colorbar(image, label="Dice against the whole truth", shrink=0.8)
    return figure
