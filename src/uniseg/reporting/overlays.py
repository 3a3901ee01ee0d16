"""Pictures of one case: contours of reference and prediction over the image in three planes."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from uniseg.cache.store import TaskCache
from uniseg.files import write_atomically
from uniseg.images.volume import Volume
from uniseg.reporting.markup import plain
from uniseg.task import Task

DPI = 110
DARK, LIGHT = "#101418", "#e8ecf0"
COLOURS = ("#ff4d4d", "#35c4ff", "#ffd23f", "#4ade80", "#d16bff", "#ff9f40", "#ff7ac6", "#5eead4")
CT_BELOW_HU, CT_WINDOW_HU = -500, (-160.0, 240.0)
MARGIN_FRACTION, MARGIN_MM = 0.35, 30.0  # shown around the structures, the larger of the two
WIDTH_INCHES, ROW_INCHES, GAP_INCHES, LINE_INCHES = 11.0, 4.2, 0.12, 0.24
LEGEND_INCHES, LETTER_INCHES = 0.7, 0.08  # width of an entry's line with its gap, of a letter
LINE_POINTS = 1.5
WINDOW_SAMPLE = 1_000_000  # voxels that percentiles are taken over


@dataclass(frozen=True)
class Plane:
    """A cut across ``axis``; the picture's rows and columns are axes of ``[Z,Y,X]``;

    ``letters`` are left, right, top, bottom.

    Patient right is at the image's left, since X grows to patient left; ``rows_up``: the row axis grows upwards.

    Examples:
        >>> [plane.name for plane in PLANES]
        ['axial', 'coronal', 'sagittal']
    """

    name: str
    axis: int
    rows: int
    columns: int
    rows_up: bool
    letters: tuple[str, str, str, str]


PLANES = (
    Plane("axial", 0, rows=1, columns=2, rows_up=False, letters=("R", "L", "A", "P")),
    Plane("coronal", 1, rows=0, columns=2, rows_up=True, letters=("R", "L", "S", "I")),
    Plane("sagittal", 2, rows=0, columns=1, rows_up=True, letters=("A", "P", "S", "I")),
)


@dataclass(frozen=True)
class _Case:
    """What all pictures of a case share.

    Attributes:
        box: first and last voxel shown per axis (z, y, x).
    """

    task: Task
    reference: np.ndarray
    prediction: np.ndarray
    spacing_mm: tuple[float, ...]
    box: list[tuple[int, int]]

    def size_mm(self, axis: int) -> float:
        low, high = self.box[axis]
        return (high - low + 1) * self.spacing_mm[axis]


@dataclass(frozen=True)
class _Layout:
    """Where pictures stand in a figure of ``height`` inches: rows of three, ``scale`` inches a millimetre, above the
    legend in ``columns`` columns.
    """

    widths: list[float]
    heights: list[float]
    scale: float
    height: float
    columns: int

    @classmethod
    def of(cls, case: _Case, num_rows: int, labels: Sequence[str]) -> "_Layout":
        widths = [case.size_mm(plane.columns) for plane in PLANES]
        heights = [case.size_mm(plane.rows) for plane in PLANES]
        scale = min((WIDTH_INCHES - GAP_INCHES * (len(PLANES) + 1)) / sum(widths), ROW_INCHES / max(heights))
        entry = LEGEND_INCHES + LETTER_INCHES * max(map(len, labels))
        columns = min(len(labels), max(1, int(WIDTH_INCHES / entry)))
        footer = LINE_INCHES * (ceil(len(labels) / columns) + 0.5)
        height = num_rows * (max(heights) * scale + LINE_INCHES) + footer + 1.5 * LINE_INCHES + GAP_INCHES
        return cls(widths, heights, scale, height, columns)

    def rectangle(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a picture as fractions of the figure."""
        tallest, width, height = max(self.heights), self.widths[column], self.heights[column]
        left = (WIDTH_INCHES - sum(self.widths) * self.scale - GAP_INCHES * (len(PLANES) - 1)) / 2
        left += sum(self.widths[:column]) * self.scale + GAP_INCHES * column
        top = self.height - 1.5 * LINE_INCHES - row * (tallest * self.scale + LINE_INCHES)
        bottom = top - LINE_INCHES - (tallest + height) / 2 * self.scale
        sides = (left / WIDTH_INCHES, bottom / self.height)
        return *sides, width * self.scale / WIDTH_INCHES, height * self.scale / self.height


def overlay_figure(
    volume: Volume,
    reference: np.ndarray,
    prediction: np.ndarray | None,
    *,
    task: Task,
    dice: Sequence[float] | None,
    title: str,
) -> Figure:
    """Three planes through the largest reference cross-sections; reference solid, prediction dashed, a colour per
    class.

    Args:
        volume: ``array [M,Z,Y,X]``; two or three modalities show the first and the last, more the last alone.
        reference, prediction: label values of ``task``, ``[Z,Y,X]``; negative: not counted. None where nothing was
            predicted yet.
        dice: of each foreground class, printed beside its colour; None with ``prediction``.
        title: one line above the pictures.
    """
    prediction = np.zeros_like(reference) if prediction is None else prediction
    box = view_box((reference > 0) | (prediction > 0), volume.spacing_mm)
    case = _Case(task, reference, prediction, tuple(volume.spacing_mm), box)
    handles = _legend_handles(task, dice, np.union1d(reference, prediction))
    shown = shown_modalities(len(volume.array))
    layout = _Layout.of(case, len(shown), [str(handle.get_label()) for handle in handles])
    figure = Figure(figsize=(WIDTH_INCHES, layout.height), facecolor=DARK)
    line = 1 - 0.75 * LINE_INCHES / layout.height
    figure.text(0.5, line, plain(title), color=LIGHT, ha="center", va="center", fontsize=12)
    for row, modality in enumerate(shown):
        window = display_window(volume.array[modality])
        for column, plane in enumerate(PLANES):
            axes = figure.add_axes(layout.rectangle(row, column))
            index = slice_index(reference, prediction, plane.axis)
            _draw_plane(axes, plane, index, volume.array[modality], window, case)
            where = f"{plane.name} {index + 1}/{reference.shape[plane.axis]}"
            axes.set_title(f"{plain(task.modalities[modality])}, {where}", color=LIGHT, fontsize=9, pad=3)
    legend = {"loc": "lower center", "ncols": layout.columns, "frameon": False, "labelcolor": LIGHT, "fontsize": 9}
    figure.legend(handles=handles, **legend)
    return figure


def write_preview(folder: Path) -> Path:
    """``<folder>/preview.png``: image with label of the first cached case that has a target, at the task's spacing,
    normalised.
    """
    cache = TaskCache(folder)
    shown = next((case_id for case_id in cache.entries if cache.foreground(case_id)), next(iter(cache.entries)))
    image, label = cache.read_box(shown, (0, 0, 0), cache.entries[shown].shape)
    volume = Volume(image.astype(np.float32), cache.task.spacing_mm, np.diag([*cache.task.spacing_mm, 1.0]))
    figure = overlay_figure(
        volume, label, None, task=cache.task, dice=None, title=f"{cache.task.name}: {shown}, as prepared"
    )
    with write_atomically(folder / "preview.png") as part:
        figure.savefig(part, format="png", dpi=DPI)
    return folder / "preview.png"


def slice_index(reference: np.ndarray, prediction: np.ndarray, axis: int) -> int:
    """Where the foreground of the reference is widest across ``axis``; of the prediction where the reference is empty;
    else the middle.
    """
    mask = next((m for m in (reference > 0, prediction > 0) if m.any()), np.ones_like(reference, dtype=bool))
    areas = mask.sum(axis=tuple(a for a in range(3) if a != axis))
    widest = np.flatnonzero(areas == areas.max())
    return int(widest[len(widest) // 2])


def view_box(mask: np.ndarray, spacing_mm: Sequence[float]) -> list[tuple[int, int]]:
    """First and last voxel per axis (z, y, x) of the structures with a margin around them; everything where there are
    none.
    """
    box = []
    for axis, mm in enumerate(spacing_mm):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        low, high = (inside[0], inside[-1]) if inside.size else (0, mask.shape[axis] - 1)
        margin = ceil(max(MARGIN_FRACTION * (high - low + 1), MARGIN_MM / mm))
        box.append((max(int(low) - margin, 0), min(int(high) + margin, mask.shape[axis] - 1)))
    return box


def display_window(image: np.ndarray) -> tuple[float, float]:
    """Black, white for one modality ``[Z,Y,X]``: soft tissue where the values look like HU, else the 1st and 99th
    percentile.
    """
    if image.min() < CT_BELOW_HU:
        return CT_WINDOW_HU
    low, high = np.percentile(image.ravel()[:: max(1, image.size // WINDOW_SAMPLE)], (1, 99))
    return float(low), float(high if high > low else max(image.max(), low + 1))


def shown_modalities(num_modalities: int) -> tuple[int, ...]:
    """Channels worth a row: one, or the first and the last, or of four and more the last."""
    return (0,) if num_modalities == 1 else (0, num_modalities - 1) if num_modalities < 4 else (num_modalities - 1,)


def class_colours(num_classes: int) -> list[tuple[float, float, float] | str]:
    """One colour per foreground class, bright on grey; evenly turned hues where the chosen ones do not suffice."""
    if num_classes - 1 <= len(COLOURS):
        return list(COLOURS[: num_classes - 1])
    return [colorsys.hsv_to_rgb(k * 0.618034 % 1, 0.85 - 0.3 * (k % 2), 1.0) for k in range(num_classes - 1)]


def _draw_plane(
    axes: Axes, plane: Plane, index: int, image: np.ndarray, window: tuple[float, float], case: _Case
) -> None:
    """One slice of ``image [Z,Y,X]`` in millimetres, voxel centres at index * spacing."""
    down, across = case.spacing_mm[plane.rows], case.spacing_mm[plane.columns]
    picture = np.take(image, index, plane.axis)
    extent = (-0.5 * across, (picture.shape[1] - 0.5) * across, -0.5 * down, (picture.shape[0] - 0.5) * down)
    grey = {"cmap": "gray", "vmin": window[0], "vmax": window[1], "interpolation": "nearest"}
    axes.imshow(picture, extent=extent, origin="lower", aspect="auto", **grey)
    for label, style in ((case.reference, "solid"), (case.prediction, "dashed")):
        cut = np.take(label, index, plane.axis)
        for values, colour in zip(case.task.class_values, class_colours(case.task.num_classes), strict=True):
            _draw_contour(axes, np.isin(cut, values), down, across, colour, style)
    horizontal, vertical = (
        ((low - 0.5) * mm, (high + 0.5) * mm)
        for (low, high), mm in ((case.box[plane.columns], across), (case.box[plane.rows], down))
    )
    axes.set_xlim(*horizontal)
    axes.set_ylim(*(vertical if plane.rows_up else vertical[::-1]))
    axes.set_axis_off()
    _write_letters(axes, plane)


def _write_letters(axes: Axes, plane: Plane) -> None:
    """Which way the patient faces, at the four borders."""
    halo = [withStroke(linewidth=2, foreground=DARK)]
    borders = ((0.015, 0.5, "left"), (0.985, 0.5, "right"), (0.5, 0.985, "top"), (0.5, 0.015, "bottom"))
    for letter, (x, y, border) in zip(plane.letters, borders, strict=True):
        ha, va = (border, "center") if x != 0.5 else ("center", border)
        axes.text(x, y, letter, transform=axes.transAxes, color=LIGHT, fontsize=8, path_effects=halo, ha=ha, va=va)


def _draw_contour(axes: Axes, mask: np.ndarray, down: float, across: float, colour: object, style: str) -> None:
    """Outline of a slice's mask; padded, so that it closes at the border."""
    if not mask.any():
        return
    ys, xs = ((np.arange(-1, n + 1)) * mm for n, mm in zip(mask.shape, (down, across), strict=True))
    axes.contour(
        xs,
        ys,
        np.pad(mask, 1).astype(np.float32),
        levels=[0.5],
        colors=[colour],
        linestyles=[style],
        linewidths=[LINE_POINTS],
    )


def _legend_handles(task: Task, dice: Sequence[float] | None, present: np.ndarray) -> list[Line2D]:
    """The line styles, then every class; of very many classes only those that the case holds."""
    names = (
        task.classes[1:]
        if dice is None
        else [f"{name}  Dice {value:.3f}" for name, value in zip(task.classes[1:], dice, strict=True)]
    )
    named = zip(names, class_colours(task.num_classes), strict=True)
    few = task.num_classes - 1 <= len(COLOURS)
    listed = [
        each for each, values in zip(named, task.class_values, strict=True) if few or np.isin(values, present).any()
    ]
    lines = {"reference": "solid"} if dice is None else {"reference": "solid", "prediction": "dashed"}
    styles = [Line2D([], [], color=LIGHT, ls=style, label=name) for name, style in lines.items()]
    return styles + [Line2D([], [], color=colour, lw=3, label=plain(name)) for name, colour in listed]
