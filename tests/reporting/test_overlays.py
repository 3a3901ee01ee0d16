"""What an overlay shows, down to its pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from samples import make_task
from uniseg.cache.store import CaseEntry, write_case, write_task
from uniseg.datasets.splits import SplitTable
from uniseg.images.volume import Volume
from uniseg.reporting.overlays import (
    COLOURS,
    CT_WINDOW_HU,
    LINE_POINTS,
    class_colours,
    display_window,
    overlay_figure,
    shown_modalities,
    slice_index,
    view_box,
    write_preview,
)

SHAPE, SPACING = (12, 16, 20), (4.0, 2.0, 1.0)


def label_with(*boxes: tuple) -> np.ndarray:
    label = np.zeros(SHAPE, np.int16)
    for value, *slices in boxes:
        label[tuple(slice(*s) for s in slices)] = value
    return label


def make_figure(image, reference, prediction, classes=("background", "organ"), modalities=("CT",)):
    volume = Volume(np.asarray(image, np.float32), SPACING, np.eye(4))
    return overlay_figure(
        volume,
        reference,
        prediction,
        task=make_task(modalities=modalities, classes=classes),
        dice=[0.5] * (len(classes) - 1),
        title="case",
    )


def pixels_of(figure, axes):
    """RGB ``[rows, columns, 3]`` in 0..1 of one panel."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    rgb = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    box = axes.get_window_extent()
    height = rgb.shape[0]
    return rgb[round(height - box.y1) : round(height - box.y0), round(box.x0) : round(box.x1)]


def test_plane_goes_through_the_largest_cross_section():
    reference = label_with((1, (2, 9), (3, 6), (5, 8)), (2, (6, 7), (3, 12), (5, 15)))
    prediction = label_with((1, (0, 1), (0, 16), (0, 20)))
    assert slice_index(reference, prediction, 0) == 6
    assert slice_index(reference, prediction, 1) in (3, 4, 5)
    assert slice_index(label_with(), prediction, 0) == 0  # empty reference: the prediction's
    assert slice_index(label_with(), label_with(), 0) == 6  # both empty: the middle
    assert slice_index(label_with((1, (2, 9), (3, 6), (5, 8))), prediction, 0) == 5  # ties: the middle one


def test_view_holds_the_structures_with_a_margin_in_millimetres():
    mask = np.zeros((50, 100, 400), bool)
    mask[20:24, 50:52, 100:300] = True
    assert view_box(mask, (4.0, 2.0, 1.0)) == [(12, 31), (35, 66), (30, 369)]
    assert view_box(np.zeros((3, 4, 5), bool), (1, 1, 1)) == [(0, 2), (0, 3), (0, 4)]


def test_windows():
    rng = np.random.default_rng(0)
    assert display_window(rng.uniform(-1000, 500, SHAPE)) == CT_WINDOW_HU
    low, high = display_window(np.arange(101.0).reshape(1, 1, -1))
    assert (low, high) == pytest.approx((1, 99))
    assert display_window(np.full(SHAPE, 7.0)) == (7, 8)


def test_modalities_shown():
    assert [shown_modalities(n) for n in (1, 2, 3, 4)] == [(0,), (0, 1), (0, 2), (3,)]


@pytest.mark.parametrize("num_classes", [2, 9, 63])
def test_colours_differ(num_classes):
    colours = {to_rgb(colour) for colour in class_colours(num_classes)}
    assert len(colours) == num_classes - 1


@pytest.mark.parametrize(
    ("panel", "row_axis", "column_axis", "rows_up"),
    [(0, 1, 2, False), (1, 0, 2, True), (2, 0, 1, True)],
    ids=["axial", "coronal", "sagittal"],
)
def test_display_is_radiological_with_true_aspect(panel, row_axis, column_axis, rows_up):
    """A bright block away from the centre lands where patient left, posterior, superior belong."""
    place = (8, 3, 14)  # z, y, x: superior, anterior, left
    image = np.zeros((1, *SHAPE))
    image[0, 7:10, 2:5, 13:16] = 1000
    marker = label_with((1, *[(p, p + 1) for p in place]))
    figure = make_figure(image, marker, marker)
    axes = figure.axes[panel]
    rgb = pixels_of(figure, axes)
    assert rgb.shape[0] / rgb.shape[1] == pytest.approx(
        SHAPE[row_axis] * SPACING[row_axis] / (SHAPE[column_axis] * SPACING[column_axis]), rel=0.02
    )
    rows, columns = np.nonzero((rgb > 0.95).all(-1))
    share = [(place[axis] + 0.5) / SHAPE[axis] for axis in (row_axis, column_axis)]
    assert np.median(rows) / rgb.shape[0] == pytest.approx(1 - share[0] if rows_up else share[0], abs=0.06)
    assert np.median(columns) / rgb.shape[1] == pytest.approx(share[1], abs=0.06)


def contours(axes, style):
    """Bounds (x0, y0, x1, y1) in mm of the contours drawn in a line style, by colour."""
    sets = [c for c in axes.collections if (c.get_linestyles()[0][1] is not None) == (style == "dashed")]
    return {tuple(c.get_edgecolor()[0][:3]): c.get_paths()[0].get_extents().extents for c in sets}


def test_reference_is_solid_and_prediction_dashed_per_class():
    reference = label_with((1, (3, 8), (4, 10), (3, 9)), (2, (3, 8), (4, 10), (12, 20)))
    prediction = label_with((1, (3, 8), (5, 10), (3, 9)))
    figure = make_figure(np.zeros((1, *SHAPE)), reference, prediction, classes=("background", "a", "b"))
    solid, dashed = (contours(figure.axes[0], style) for style in ("solid", "dashed"))
    assert set(solid) == {to_rgb(COLOURS[0]), to_rgb(COLOURS[1])}
    assert set(dashed) == {to_rgb(COLOURS[0])}
    assert solid[to_rgb(COLOURS[0])] == pytest.approx([2.5, 7, 8.5, 19])  # half a voxel around 3..8 * 1 mm, 4..9 * 2 mm
    assert solid[to_rgb(COLOURS[1])] == pytest.approx([11.5, 7, 19.5, 19])  # closes at the border
    assert dashed[to_rgb(COLOURS[0])] == pytest.approx([2.5, 9, 8.5, 19])
    assert figure.axes[0].collections[0].get_linewidths()[0] == LINE_POINTS


def test_legend_names_every_class_with_its_dice():
    figure = make_figure(
        np.zeros((2, *SHAPE)), label_with(), label_with(), classes=("background", "a", "b"), modalities=("CT", "T1")
    )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "reference",
        "prediction",
        "a  Dice 0.500",
        "b  Dice 0.500",
    ]
    assert [axes.get_title() for axes in figure.axes][::3] == ["CT, axial 7/12", "T1, axial 7/12"]


def test_legend_of_very_many_classes_names_those_of_the_case():
    classes = ("background", *(f"bone_{k}" for k in range(1, 41)))
    figure = make_figure(
        np.zeros((1, *SHAPE)),
        label_with((7, (3, 8), (4, 10), (3, 9))),
        label_with((9, (3, 8), (4, 10), (3, 9))),
        classes=classes,
    )
    assert [text.get_text() for text in figure.legends[0].get_texts()][2:] == [
        "bone_7  Dice 0.500",
        "bone_9  Dice 0.500",
    ]


def test_the_first_case_with_a_target_is_shown(tmp_path):
    shape, bright = (10, 20, 20), np.zeros((1, 10, 20, 20), np.float32)
    label = np.zeros(shape, np.int16)
    label[4:6, 5:15, 5:15] = 1
    bright[0, 4:6, 5:15, 5:15] = 1
    entries = [CaseEntry("empty", "set/e", shape, "k"), CaseEntry("full", "set/f", shape, "k")]
    write_case(tmp_path, entries[0], np.zeros_like(bright), np.zeros_like(label), make_task())
    write_case(tmp_path, entries[1], bright, label, make_task())
    write_task(
        tmp_path, make_task(), entries, SplitTable((), ((),), ("empty", "full"), {"empty": "set/e", "full": "set/f"})
    )
    picture = plt.imread(write_preview(tmp_path))[..., :3]
    white = (picture > 0.95).all(-1).mean()
    assert 0.02 < white < 0.3  # three planes through the bright block
    red = (picture[..., 0] > 0.9) & (picture[..., 1] < 0.5)
    assert red.sum() > 100
    assert not list(tmp_path.glob(".part*"))
