"""Pictures of what prompts see, which channels are dead, how weights grow."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uniseg.evaluation.health import LOW_IMAGE_SHARE, NetworkHealth
from uniseg.reporting.markup import plain
from uniseg.run_folder import RunFolder

WIDTH_INCHES, PANEL_INCHES, LAYER_INCHES = 11.0, 2.8, 0.17
LOWEST_SHARE = 1e-6  # of the logarithmic axis
BLUE, RED, GREY = "#2563a8", "#d1352b", "#8a929c"


def health_figures(run_dir: Path) -> Iterator[tuple[str, str, Figure]]:
    """Name, caption, figure of what every validation of a run measured; nothing for a run without.

    Raises:
        InputError: the file is malformed.
    """
    health = NetworkHealth.load(RunFolder(run_dir).health)
    if health is None or not len(health.epochs):
        return
    prompts = (
        "" if np.isnan(health.image_share).all() else "fraction of the task prompts' variance that comes from the "
    )
    prompts += "image (grey: each task; red: where prompts count as blind); " if prompts else ""
    caption = (
        f"On validation windows by epoch: {prompts}fraction of bottleneck channels that no image changes; size of "
    )
    yield "health", f"{caption}the weights ahead of a norm over the size they were drawn with.", health_figure(health)
    if len(health.layers):
        caption = "Each convolution ahead of a norm at the end: size of its weights over the size they were drawn with."
        yield "weight_growth", caption, growth_figure(health)


def health_figure(health: NetworkHealth) -> Figure:
    """A panel each for what was measured, over epochs."""
    panels = [] if np.isnan(health.image_share).all() else [_draw_share]
    panels += [_draw_dead, *([_draw_growth] if len(health.layers) else [])]
    figure = Figure(figsize=(WIDTH_INCHES * len(panels) / 3, PANEL_INCHES), layout="constrained")
    for axes, draw in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axes, health)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def growth_figure(health: NetworkHealth) -> Figure:
    """A bar per layer, from the input on."""
    rows = np.arange(len(health.layers))
    figure = Figure(figsize=(WIDTH_INCHES, LAYER_INCHES * len(rows) + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.barh(rows, health.growth[-1], color=BLUE, height=0.7)
    axes.axvline(1, color=GREY, lw=1)
    axes.set_yticks(rows, [plain(name) for name in health.layers], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("norm of the weights / norm when drawn")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_share(axes: Axes, health: NetworkHealth) -> None:
    for shares in health.task_image_share.T:
        axes.plot(health.epochs, np.maximum(shares, LOWEST_SHARE), color=GREY, lw=0.7, alpha=0.6)
    axes.plot(health.epochs, np.maximum(health.image_share, LOWEST_SHARE), color=BLUE, lw=1.8, marker=".")
    axes.axhline(LOW_IMAGE_SHARE, color=RED, lw=0.8)
    axes.set_yscale("log")
    axes.set_ylim(LOWEST_SHARE, 1.2)
    axes.set_title("image share of task prompts", fontsize=10)


def _draw_dead(axes: Axes, health: NetworkHealth) -> None:
    axes.plot(health.epochs, health.dead_channels, color=BLUE, lw=1.4, marker=".")
    axes.set_ylim(-0.02, 1.02)
    axes.set_title("dead channels of the bottleneck", fontsize=10)


def _draw_growth(axes: Axes, health: NetworkHealth) -> None:
    axes.plot(health.epochs, np.median(health.growth, axis=1), color=BLUE, lw=1.4, marker=".", label="median")
    axes.plot(health.epochs, health.growth.max(1), color=RED, lw=1.0, marker=".", label="largest")
    axes.set_title("growth of weights ahead of a norm", fontsize=10)
    axes.legend(fontsize=7, frameon=False, loc="upper left")
