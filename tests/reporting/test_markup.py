"""Names that look like markup are drawn and written letter by letter."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from samples import make_task
from uniseg.evaluation.prompt_files import PromptEvolution, PromptMap
from uniseg.evaluation.records import ClassSummary, Score, TaskSummary
from uniseg.images.volume import Volume
from uniseg.metrics.registry import packaged_metrics
from uniseg.reporting.fewshot import Point, shot_figure
from uniseg.reporting.fewshot_files import table
from uniseg.reporting.figures import Panel, box_figure, curve_figure
from uniseg.reporting.markup import cell, plain
from uniseg.reporting.overlays import overlay_figure
from uniseg.reporting.prompts import evolution_figure, map_figure, similarity_figure
from uniseg.reporting.run import CaseResult, TaskResult
from uniseg.reporting.run_files import Curve

DICE = packaged_metrics()["dice"]
ODD = [r"$\frac$", "$a$", "_hidden", "[/x]", "5 $ or $10", "<b>|x"]


def drawn(figure):
    """What stands in the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that the font lacks
        figure.savefig("figure.png")
    return [
        text._preprocess_math(text.get_text())
        for axes in [figure, *figure.axes]
        for text in axes.findobj(match=is_text)
    ]


def is_text(artist):
    return hasattr(artist, "_preprocess_math") and bool(artist.get_text())


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ODD)
def test_every_figure_takes_the_name(name):
    curve = Curve((0, 1), (0.5, 0.6))
    scores = (Score(name, "c", "p", name, 0.5, 0.5, 0.1, 1.0, 1.0),)
    summary = TaskSummary(0.5, 0.5, 0.1, 1, 1, {name: ClassSummary(0.5, 0.1)})
    task = TaskResult(name, summary, (CaseResult(name, "c", "p", scores),))
    mask = np.zeros((4, 6, 6), np.int16)
    mask[1:3, 2:4, 2:4] = 1
    volume = Volume.of_array(np.random.default_rng(0).normal(size=mask.shape), (1, 1, 1))
    shown = make_task("a", (name,), ("background", name))
    cosine = np.eye(2, dtype=np.float32)
    seen = PromptMap(np.array([name]), name, "c", name, np.ones(3), volume.array[0], volume.array)
    figures = [
        curve_figure([Panel(name, ((name, curve),))], "loss", None),
        box_figure([task]),
        overlay_figure(volume, mask, mask, task=shown, dice=[0.5], title=name),
        similarity_figure(cosine, [name, "other"]),
        evolution_figure(PromptEvolution.empty([name, "other"]).append(0, 5, cosine).append(1, 10, cosine)),
        map_figure(seen),
        shot_figure([Point(name, 1, (0.5,), None, None)], DICE, 0.1),
    ]
    expected = plain(name).strip().replace(r"\$", "$")
    for figure in figures:
        texts = drawn(figure)
        assert any(expected in text for text, _ in texts), texts
        assert not any(is_math is True for _, is_math in texts)


def test_plain_text_by_hand():
    assert plain(r"$\frac$") == r"\$\frac\$"
    assert plain("_hidden") == " _hidden"
    assert plain("a\nb") == "a?b"
    figure = Figure()
    assert figure.text(0, 0, plain("$a$"))._preprocess_math(plain("$a$")) == ("$a$", False)


def test_a_table_keeps_its_columns():
    text = table([Point("scratch | x", 1, (0.5,), None, None)], DICE, 0.1)
    (row,) = [line for line in text.splitlines() if "scratch" in line]
    assert row.startswith(r"| scratch \| x | 1 | 1 |")
    assert cell("a\\|b\n") == r"a\\\|b?"
