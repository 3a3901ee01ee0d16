"""Charts hold the values they should."""

from dataclasses import replace

import numpy as np
import pytest

from uniseg.reporting.figures import box_figure, curve_figure, dice_panels, loss_panels
from uniseg.reporting.run import read_run


def test_panels_leave_out_what_was_not_logged(run_dir):
    run = read_run(run_dir)
    assert [(panel.title, [name for name, _ in panel.lines]) for panel in loss_panels(run)] == [
        ("all tasks", ["train", "val"]),
        ("organs", ["train"]),
    ]
    assert [(panel.title, [name for name, _ in panel.lines]) for panel in dice_panels(run)] == [
        ("all tasks", ["mean"]),
        ("organs", ["liver"]),
    ]
    assert loss_panels(replace(run, curves={})) == []


def test_curves_are_drawn_over_epochs(run_dir):
    figure = curve_figure(loss_panels(read_run(run_dir)), "loss", None)
    train, val = figure.axes[0].get_lines()
    assert train.get_xydata().tolist() == [[0, 1.5], [1, 1.1], [2, 1.0]]
    assert val.get_xydata().tolist() == [[0, 0.9], [1, 0.7]]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim() == (-0.5, 2.5)


def test_boxes_show_every_case_and_the_baseline(run_dir):
    tasks = read_run(run_dir).tasks
    axes = box_figure(tasks).axes
    liver, baseline = axes[0].collections[:2]
    assert sorted(liver.get_offsets()[:, 0]) == pytest.approx([0.2, 0.5, 0.6, 0.9])
    assert baseline.get_segments()[0][:, 0] == pytest.approx([0.5009, 0.5009])
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["liver", "spleen"]
    assert axes[1].get_title(loc="left") == "lesions (n = 1)"


def test_an_unknown_baseline_draws_nothing(run_dir):
    task = read_run(run_dir).tasks[1]
    classes = {name: replace(each, baseline_dice=float("nan")) for name, each in task.summary.classes.items()}
    unknown = replace(task, summary=replace(task.summary, classes=classes))
    figure = box_figure([unknown])
    figure.draw_without_rendering()
    segments = figure.axes[0].collections[1].get_segments()
    assert not any(np.isfinite(segment).all() and len(segment) for segment in segments)
