"""Pictures of the task prompts."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from uniseg.evaluation.prompt_files import PromptEvolution, PromptMap, PromptSimilarity
from uniseg.reporting.html import write_report
from uniseg.reporting.prompts import (
    cluster,
    evolution_figure,
    leaf_order,
    prompt_figures,
    similarity_areas,
    similarity_figure,
    similarity_image,
)
from uniseg.run_folder import RunFolder

COSINE = np.array([[1, 0.1, 0.9], [0.1, 1, 0.2], [0.9, 0.2, 1]], np.float32)
NAMES = ["liver", "lung", "spleen"]


def write_prompts(run_dir) -> None:
    run = RunFolder(run_dir)
    evaluation = run.evaluation("test")
    PromptSimilarity(np.array(NAMES), COSINE, np.zeros((0, 0)), np.array(6)).save(evaluation.prompt_similarity)
    PromptEvolution.empty(NAMES).append(0, 5, np.eye(3)).append(1, 10, COSINE).save(run.prompt_evolution)
    image = np.random.default_rng(0).normal(size=(4, 6, 8))
    seen = PromptMap(
        np.array(NAMES[:2]),
        np.array("liver"),
        np.array("a"),
        np.array("CT"),
        np.array([2.0, 1, 1]),
        image,
        np.stack([image, -image]),
    )
    seen.save(evaluation.prompt_map)


def test_page_shows_prompts_where_there_are_some(run_dir, tmp_path, page):
    assert "Task prompts" not in page.read_text()
    assert not list(prompt_figures(run_dir))
    write_prompts(run_dir)
    page = write_report(run_dir, tmp_path / "out").read_text()
    assert page.index('id="prompts"') < page.index('id="cases"')
    assert "over 6 windows" in page
    files = {file.name for file in (tmp_path / "out" / "figures").glob("prompt_*")}
    assert files == {"prompt_similarity.png", "prompt_evolution.png", "prompt_map.png"}


def test_alike_tasks_are_neighbours():
    axes = similarity_figure(COSINE, NAMES).axes[0]
    order = [label.get_text() for label in axes.get_yticklabels()]
    assert abs(order.index("liver") - order.index("spleen")) == 1
    shown = axes.images[0].get_array()
    np.testing.assert_allclose(shown, COSINE[np.ix_([NAMES.index(n) for n in order], [NAMES.index(n) for n in order])])
    assert similarity_image(COSINE, NAMES).dtype == np.uint8


def test_a_row_of_the_picture_leads_to_its_task():
    figure = similarity_figure(COSINE, NAMES)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    rows = similarity_areas(figure, COSINE, NAMES)[:3]
    assert [area.task for area in rows] == labels
    FigureCanvasAgg(figure).draw()
    for row, area in enumerate(rows):
        _, y = figure.axes[0].transData.transform((0, row)) / figure.bbox.size
        assert area.top < 100 * (1 - y) < area.top + area.height
        assert abs(area.top + area.height / 2 - 100 * (1 - y)) < 1e-6


def test_pairs_of_the_evolution_are_ranked_by_the_end():
    axes = evolution_figure(PromptEvolution.empty(NAMES).append(0, 5, np.eye(3)).append(3, 10, COSINE)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["liver · spleen", "lung · spleen", "liver · lung"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 0.9], [0, 0.2], [0, 0.1]], atol=1e-6)


def test_blocks_lie_together():
    group = np.array([0, 1, 0, 1, 0])
    cosine = np.where(group[:, None] == group, 0.9, 0.1)
    np.fill_diagonal(cosine, 1)
    links = cluster(cosine)
    assert sorted(np.flatnonzero(np.diff(group[leaf_order(links)])).tolist()) in ([1], [2])
    np.testing.assert_allclose(links[:, 2], [0.1, 0.1, 0.1, 0.9])


def test_one_task_has_no_tree():
    assert leaf_order(cluster(np.ones((1, 1)))) == [0]
