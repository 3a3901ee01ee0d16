"""The report as a browser shows it."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.image import imread

from started import TINY, succeed

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTH, HEIGHT = 1160, 9000


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")
def test_the_page_is_whole_in_a_browser(trained, tmp_path):
    shutil.rmtree(trained / "outputs/demo/evaluation", ignore_errors=True)  # what is there already takes no time
    succeed("evaluate", "experiment=demo", *TINY, cwd=trained)
    succeed("report", "run=outputs/demo", f"output={tmp_path}", cwd=trained)
    page = (tmp_path / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page), "nothing is fetched"
    common = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    shown = subprocess.run(
        [*common, "--dump-dom", (tmp_path / "report.html").as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    for title in (
        "Settings that differ from the defaults",
        "Data",
        "Scores on the test split",
        "Learning curves",
        "Overlays",
        "Where prediction spends its time",
    ):
        assert title in shown
    picture = tmp_path / "page.png"
    subprocess.run([*common, f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}",
        (tmp_path / "report.html").as_uri()],
                   capture_output=True, check=True, timeout=120)  # fmt: skip
    pixels = imread(picture)[..., :3]
    assert pixels.shape[:2] == (HEIGHT, WIDTH)
    inked = (pixels < 0.9).any(-1)
    assert inked.mean() > 0.02
    assert not inked[:, -20:].any(), "nothing is cut off at the right"
    assert np.count_nonzero(inked.any(1)) > HEIGHT / 3


@pytest.mark.slow
def test_figures_go_to_wandb_offline(trained, tmp_path):
    succeed("evaluate", "experiment=demo", *TINY, cwd=trained)
    succeed("report", "run=outputs/demo", f"output={tmp_path}", "logger=wandb", cwd=trained)
    kept = {
        path.name.rpartition("_")[0].rpartition("_")[0]
        for path in (trained / "outputs/demo/wandb").glob("offline-run-*/files/media/images/report/*.png")
    }
    assert kept == {path.stem for path in (tmp_path / "figures").glob("*.png")}
