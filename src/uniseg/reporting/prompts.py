"""Pictures of the task prompts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage
from scipy.spatial.distance import squareform

from uniseg.evaluation.prompt_files import PromptEvolution, PromptMap, PromptSimilarity
from uniseg.reporting.markup import plain
from uniseg.reporting.overlays import PLANES, Plane
from uniseg.reporting.pictures import Area
from uniseg.run_folder import RunFolder

# A cell, a letter of a task's name beside or below it, the dendrogram.
CELL_INCHES, LETTER_INCHES, TREE_INCHES = 0.42, 0.085, 0.9
MOST_WRITTEN = 20  # tasks whose cells hold their number
MOST_PAIRS = 40  # lines of the evolution
PAIR_INCHES, WIDTH_INCHES, PLANE_INCHES = 0.2, 9.0, 2.6
COLOURS, MAP_COLOURS = "RdBu_r", "magma"
PERCENTILES = (1, 99)  # of a map, of an image: dark, bright
OPAQUE = 0.55

Named = tuple[str, str, Figure, tuple[Area, ...]]


def prompt_figures(run_dir: Path) -> Iterator[Named]:
    """Name, caption, figure of what a run kept of its prompts, parts of it that stand for a task; nothing for a run
    without.

    Raises:
        InputError: a file is malformed.
    """
    run = RunFolder(run_dir)
    if similarity := PromptSimilarity.load(run.reported.prompt_similarity):
        windows = f"over {int(similarity.num_windows)} windows of validation scans"
        caption = f"Task prompts {windows}: cosine of the maps, each less its mean. A row leads to its task."
        yield _named_similarity("prompt_similarity", caption, similarity.cosine, similarity.tasks.tolist())
        if rows := len(similarity.universal):
            caption = "Rows of the universal prompt, which no scan has touched: cosine, each row less its mean."
            yield _named_similarity("prompt_universal", caption, similarity.universal, similarity.tasks.tolist()[:rows])
    evolution = PromptEvolution.load(run.prompt_evolution)
    if evolution and len(evolution.tasks) > 1:
        caption = "Cosine of every two task prompts on one validation batch by epoch; the most alike at the end above."
        yield "prompt_evolution", caption, evolution_figure(evolution), ()
    if seen := PromptMap.load(run.reported.prompt_map):
        caption = (
            f"Task prompts over the validation scan {seen.case_id} of {seen.task}: its own, the most and the least "
            "like it. Low, high: 1st, 99th percentile."
        )
        yield "prompt_map", caption, map_figure(seen), ()


def _named_similarity(name: str, caption: str, cosine: np.ndarray, tasks: Sequence[str]) -> Named:
    figure = similarity_figure(cosine, tasks)
    return name, caption, figure, tuple(similarity_areas(figure, cosine, tasks))


def cluster(cosine: np.ndarray) -> np.ndarray:
    """Average linkage on 1 - cosine of ``[T,T]``: SciPy's rows ``[T-1,4]``, neighbouring leaves as alike as can be."""
    if len(cosine) < 2:
        return np.zeros((0, 4))
    distance = np.clip(1 - (cosine + cosine.T) / 2, 0, None).astype(np.float64)
    np.fill_diagonal(distance, 0)
    return linkage(squareform(distance), "average", optimal_ordering=True)


def leaf_order(links: np.ndarray) -> list[int]:
    """Indices in the order of the leaves of ``cluster``."""
    return leaves_list(links).tolist() if len(links) else [0]


def similarity_figure(cosine: np.ndarray, names: Sequence[str]) -> Figure:
    """Clustered heat map of ``[T,T]`` with its dendrogram."""
    links, names = cluster(cosine), [plain(name) for name in names]
    order = leaf_order(links)
    beside = 0.3 + LETTER_INCHES * max(map(len, names))
    square = CELL_INCHES * max(len(names), 3)
    width, height = beside + square + 1.3, TREE_INCHES + square + beside + 0.5
    figure = Figure(figsize=(width, height))
    bottom = beside / height
    axes = figure.add_axes((beside / width, bottom, square / width, square / height))
    tree = figure.add_axes((beside / width, bottom + (square + 0.05) / height, square / width, TREE_INCHES / height))
    bar = figure.add_axes(((beside + square + 0.2) / width, bottom, 0.15 / width, square / height))
    _draw_matrix(axes, cosine[np.ix_(order, order)], [names[t] for t in order])
    if len(links):
        dendrogram(links, ax=tree, no_labels=True, color_threshold=0, above_threshold_color="#5b6674")
        tree.set_ylim(bottom=0)
    tree.set_axis_off()
    figure.colorbar(ScalarMappable(Normalize(-1, 1), COLOURS), cax=bar, label="cosine")
    figure.text(
        (beside + square / 2) / width, 1 - 0.2 / height, "similarity of prompts", ha="center", va="center", fontsize=11
    )
    return figure


def similarity_areas(figure: Figure, cosine: np.ndarray, names: Sequence[str]) -> list[Area]:
    """Of ``similarity_figure``: the row of each task with its name, and its name below the column."""
    box, order = figure.axes[0].get_position(), leaf_order(cluster(cosine))
    tall, wide = 100 * box.height / len(order), 100 * box.width / len(order)
    rows = [
        Area(names[task], left=0, top=100 * (1 - box.y1) + row * tall, width=100 * box.x1, height=tall)
        for row, task in enumerate(order)
    ]
    columns = [
        Area(names[task], left=100 * box.x0 + column * wide, top=100 * (1 - box.y0), width=wide, height=100 * box.y0)
        for column, task in enumerate(order)
    ]
    return rows + columns


def similarity_image(cosine: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """``similarity_figure`` as ``[H,W,3]`` uint8."""
    canvas = FigureCanvasAgg(similarity_figure(cosine, names))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def evolution_figure(evolution: PromptEvolution) -> Figure:
    """A line per pair of tasks, a column per epoch; of very many pairs the most and the least alike at the end."""
    pairs = np.array(np.triu_indices(len(evolution.tasks), 1)).T
    pairs = pairs[np.argsort(-evolution.cosine[-1][pairs[:, 0], pairs[:, 1]], kind="stable")]
    total = len(pairs)
    if total > MOST_PAIRS:
        pairs = np.concatenate([pairs[: MOST_PAIRS // 2], pairs[-MOST_PAIRS // 2 :]])
    figure = Figure(figsize=(WIDTH_INCHES, PAIR_INCHES * len(pairs) + 1.3), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(
        evolution.cosine[:, pairs[:, 0], pairs[:, 1]].T,
        cmap=COLOURS,
        vmin=-1,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_yticks(
        range(len(pairs)), [plain(f"{evolution.tasks[a]} · {evolution.tasks[b]}") for a, b in pairs], fontsize=8
    )
    ticks = np.unique(np.linspace(0, len(evolution.epochs) - 1, 11).astype(int))
    axes.set_xticks(ticks, [str(evolution.epochs[t]) for t in ticks], fontsize=8)
    axes.set_xlabel("epoch")
    few = (
        "every pair"
        if total == len(pairs)
        else f"the {MOST_PAIRS // 2} most and the {MOST_PAIRS // 2} least alike of {total} pairs"
    )
    axes.set_title(f"similarity of prompts while training: {few}", fontsize=11)
    figure.colorbar(drawn, ax=axes, label="cosine", fraction=0.04, pad=0.02)
    return figure


def map_figure(seen: PromptMap) -> Figure:
    """A row per task prompt, laid over three planes through the middle of the scan; the scan alone above."""
    sizes = [n * mm for n, mm in zip(seen.image.shape, seen.spacing_mm, strict=True)]
    widths, tallest = [sizes[p.columns] for p in PLANES], max(sizes[p.rows] for p in PLANES)
    scale = min(WIDTH_INCHES / sum(widths), PLANE_INCHES / tallest)
    rows = len(seen.maps) + 1
    figure = Figure(
        figsize=(max(sum(widths) * scale, 5.0) + 2.0, rows * (tallest * scale + 0.3) + 0.6), layout="constrained"
    )
    grid = figure.subplots(rows, len(PLANES), width_ratios=widths, squeeze=False)
    for row, prompt, name in zip(grid, [None, *seen.maps], ["scan", *seen.tasks], strict=True):
        for axes, plane in zip(row, PLANES, strict=True):
            _draw_plane(axes, plane, seen.image, prompt, seen.spacing_mm)
        row[0].set_ylabel(plain(name), fontsize=9)
    for axes, plane in zip(grid[0], PLANES, strict=True):
        axes.set_title(plane.name, fontsize=9)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), MAP_COLOURS), ax=grid, fraction=0.03, pad=0.02, label="task prompt"
    )
    bar.set_ticks([0, 1], labels=["low", "high"])
    figure.suptitle(plain(f"task prompts over {seen.case_id} ({seen.task}, {seen.modality})"), fontsize=11)
    return figure


def _draw_matrix(axes: Axes, cosine: np.ndarray, names: Sequence[str]) -> None:
    axes.imshow(cosine, cmap=COLOURS, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=90, fontsize=9)
    axes.set_yticks(ticks, names, fontsize=9)
    if len(names) <= MOST_WRITTEN:
        for (row, column), value in np.ndenumerate(cosine):
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if abs(value) > 0.6 else "black",
            )


def _draw_plane(
    axes: Axes, plane: Plane, image: np.ndarray, prompt: np.ndarray | None, spacing_mm: Sequence[float]
) -> None:
    index = image.shape[plane.axis] // 2
    origin = "lower" if plane.rows_up else "upper"
    aspect = spacing_mm[plane.rows] / spacing_mm[plane.columns]
    low, high = np.percentile(image, PERCENTILES)
    axes.imshow(
        np.take(image, index, plane.axis),
        cmap="gray",
        vmin=low,
        vmax=max(high, low + 1e-6),
        origin=origin,
        aspect=aspect,
    )
    if prompt is not None:
        low, high = np.percentile(prompt.astype(np.float32), PERCENTILES)
        shown = np.take(prompt, index, plane.axis).astype(np.float32)
        axes.imshow(
            shown, cmap=MAP_COLOURS, vmin=low, vmax=max(high, low + 1e-6), alpha=OPAQUE, origin=origin, aspect=aspect
        )
    axes.set_xticks([])
    axes.set_yticks([])
