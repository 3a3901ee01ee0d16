"""Pictures of what every validation measured."""

import numpy as np

from uniseg.evaluation.health import NetworkHealth
from uniseg.reporting.health import health_figure, health_figures
from uniseg.reporting.html import write_report
from uniseg.run_folder import RunFolder


def seen(tasks: list[str], share: float) -> NetworkHealth:
    health = NetworkHealth.empty(tasks, ["stem.convs.1", "encoder.stages.0.0.conv"])
    for epoch in range(3):
        health = health.append(
            epoch,
            10 * epoch,
            image_share=share,
            task_image_share=[share] * len(tasks),
            dead_channels=0.25,
            growth=[1, 2 + epoch],
        )
    return health


def test_the_page_shows_it_among_the_curves(run_dir, tmp_path):
    assert not list(health_figures(run_dir))
    seen(["liver", "spleen"], 0.3).save(RunFolder(run_dir).health)
    page = write_report(run_dir, tmp_path / "out").read_text()
    assert page.index('id="curves"') < page.index("no image changes") < page.index('id="overlays"')
    files = {file.name for file in (tmp_path / "out" / "figures").iterdir()}
    assert {"health.png", "weight_growth.png"} <= files


def test_a_panel_per_measure():
    share, dead, growth = health_figure(seen(["liver"], 0.3)).axes
    assert share.lines[1].get_ydata().tolist() == [np.float32(0.3)] * 3
    assert dead.lines[0].get_ydata().tolist() == [0.25] * 3
    assert [line.get_ydata().tolist() for line in growth.lines] == [[1.5, 2, 2.5], [2, 3, 4]]


def test_without_prompts_there_is_no_share():
    assert [axes.get_title()[:4] for axes in health_figure(seen([], np.nan)).axes] == ["dead", "grow"]
