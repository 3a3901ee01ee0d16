"""What a report tells of a fine-tuning: the verdict, patient by patient, how fast each part of the network turned."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from uniseg.evaluation.verdict import HARMED, HELPED, Verdict
from uniseg.reporting.markup import plain
from uniseg.reporting.run_files import Curve
from uniseg.run_folder import RunFolder

WIDTH_INCHES, HEIGHT_INCHES, RATES_INCHES = 6.5, 3.4, 11.0
RATE = "rates/effective/"
COLOURS = {HELPED: "#2c8a4b", HARMED: "#d1352b"}
BLUE, GREY = "#2563a8", "#8a929c"


def read_verdict(run_dir: Path) -> Verdict | None:
    """None where the run had no control.

    Raises:
        InputError: the file is malformed.
    """
    path = RunFolder(run_dir).verdict
    return Verdict.read(path) if path.exists() else None


def verdict_figures(verdict: Verdict | None) -> Iterator[tuple[str, str, Figure]]:
    """Name, caption, figure; nothing without patients."""
    if verdict is not None and verdict.num_patients:
        caption = "Dice of each val patient, whole scans: new weights, fine-tuned. Thick: their means."
        yield "verdict", caption, verdict_figure(verdict)


def verdict_figure(verdict: Verdict) -> Figure:
    """A line per val patient from the control to the fine-tuned network."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    for patient, dice in verdict.control.items():
        axes.plot([0, 1], [dice, verdict.fine_tuned[patient]], color=GREY, lw=0.9, marker="o", markersize=3)
    fine_tuned, control = verdict.means
    axes.plot([0, 1], [control, fine_tuned], color=COLOURS.get(verdict.outcome, BLUE), lw=3, marker="o")
    axes.set_xticks([0, 1], [f"new weights\n{control:.3f}", f"fine-tuned\n{fine_tuned:.3f}"])
    axes.set_xlim(-0.3, 1.3)
    axes.set_ylabel("Dice")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def rate_figures(curves: Mapping[str, Curve]) -> Iterator[tuple[str, str, Figure]]:
    """Name, caption, figure of the effective learning rates that a fine-tuning logged; nothing for other runs."""
    rates = {key.removeprefix(RATE): curve for key, curve in curves.items() if key.startswith(RATE)}
    if rates:
        caption = (
            "Effective learning rate by part, at each validation: rate times gradient norm over weight norm, the "
            "angle by which a step turns weights ahead of a norm."
        )
        yield "effective_rates", caption, rate_figure(rates)


def rate_figure(rates: Mapping[str, Curve]) -> Figure:
    """A line per part over the epochs."""
    figure = Figure(figsize=(RATES_INCHES, HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    shades = np.linspace(0.15, 0.95, len(rates))
    for (part, curve), shade in zip(rates.items(), shades, strict=True):
        axes.plot(curve.epochs, np.maximum(curve.values, 1e-9), marker=".", label=plain(part), color=(0.1, shade, 0.6))
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("radians a step")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, frameon=False, ncols=6, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
