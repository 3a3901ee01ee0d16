"""Report and viewer as a browser shows them."""

import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from browser import CHROMIUM, MISSING, NO_WEBGL, SOFTWARE_WEBGL, chromium
from started import TINY, succeed

WIDTH, HEIGHT = 1160, 4000
READY = "document.getElementById('viewer').dataset.state === 'ready'"
VIEWER = "document.getElementById('viewer')"
needs_browser = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=MISSING)]


@pytest.fixture(scope="module")
def report(trained, tmp_path_factory) -> Path:
    """The page of the small run."""
    pytest.importorskip("ipyniivue", reason="the extra view is not installed")
    folder = tmp_path_factory.mktemp("report")
    shutil.rmtree(trained / "outputs/demo/evaluation", ignore_errors=True)  # what is there already takes no time
    succeed("evaluate", "experiment=demo", *TINY, cwd=trained)
    succeed("report", "run=outputs/demo", f"output={folder}", cwd=trained)
    return folder / "report.html"


@pytest.fixture(scope="module")
def view(tmp_path_factory) -> Path:
    """A ball of two classes in a scan of noise; the reference lies two voxels away."""
    pytest.importorskip("ipyniivue", reason="the extra view is not installed")
    folder = tmp_path_factory.mktemp("view")
    z, y, x = np.mgrid[:40, :48, :48]
    scan = np.random.default_rng(0).normal(0, 30, z.shape) - 1000.0 * ((x - 24) ** 2 + (y - 24) ** 2 > 500)

    def ball(shift):
        distance = np.sqrt((z - 20) ** 2 + (y - 24) ** 2 + (x - 24 - shift) ** 2)
        return (distance < 12).astype(np.uint8) + (distance < 5)

    for name, array in (("scan", scan.astype(np.int16)), ("labels", ball(0)), ("reference", ball(2))):
        nib.save(nib.Nifti1Image(array.T, np.diag([2.0, 2, 2, 1])), folder / f"{name}.nii.gz")
    succeed("view", "scan=scan.nii.gz", "labels=labels.nii.gz", "reference=reference.nii.gz", cwd=folder)
    return folder / "view.html"


def coloured(picture: Path) -> int:
    """Pixels of the picture that are not grey."""
    pixels = imread(picture)[..., :3]
    return int((np.ptp(pixels[100:700, :1000], axis=-1) > 0.15).sum())


class TestReport:
    pytestmark = needs_browser

    def test_the_page_is_whole(self, report, tmp_path):
        page = report.read_text()
        assert not re.findall(r'(?:src|href)="(?!data:|#)', page), "nothing is fetched"
        with chromium(tmp_path / "profile", *SOFTWARE_WEBGL, size=(WIDTH, HEIGHT)) as shown:
            shown.open(report)
            text = shown.run("document.body.innerText")
            for title in (
                "Scores on the test split",
                "Failures",
                "training took",
                "Data",
                "Learning curves",
                "Overlays",
                "Where prediction spends its time",
            ):
                assert title in text
            assert "Settings that differ from the defaults" in shown.run("document.body.textContent")
            pixels = imread(shown.picture(tmp_path / "page.png"))[..., :3]
            inked = (pixels < 0.9).any(-1)
            assert inked.mean() > 0.02
            assert not inked[:, -20:].any(), "nothing is cut off at the right"
            assert np.count_nonzero(inked.any(1)) > HEIGHT / 3
            assert shown.complaints == []

    def test_tables_sort_and_links_unfold(self, report, tmp_path):
        with chromium(tmp_path / "profile", *SOFTWARE_WEBGL) as shown:
            shown.open(report)
            column = "[...document.querySelector('table.sortable').tBodies[0].rows].map(row => +row.cells[3].innerText)"
            head = "document.querySelector('table.sortable th:nth-child(4) button').click()"
            before = shown.run(column)
            shown.run(head)
            assert shown.run(column) == sorted(before)
            shown.run(head)
            assert shown.run(column) == sorted(before, reverse=True)
            shown.run("document.querySelector('.areas a').click()")
            shown.wait("document.querySelector(location.hash).open")
            assert shown.run("document.querySelector(location.hash).id").startswith("task-")
            assert shown.complaints == []

    def test_a_failure_leads_into_the_viewer(self, report, tmp_path):
        with chromium(tmp_path / "profile", *SOFTWARE_WEBGL) as shown:
            shown.open(report)
            assert shown.run(f"{VIEWER}.dataset.state") == "closed", "nothing is unpacked before it is asked for"
            shown.run("document.querySelector('#failures ~ .scroll a[href^=\"#view-\"]').click()")
            shown.wait(READY)
            title = shown.run("document.querySelector('[data-part=case]').selectedOptions[0].textContent")
            assert shown.run("document.querySelector('#failures ~ .scroll tbody tr').cells[1].innerText") in title
            assert shown.complaints == []


class TestView:
    pytestmark = needs_browser

    def test_it_loads_scrolls_and_toggles(self, view, tmp_path):
        with chromium(tmp_path / "profile", *SOFTWARE_WEBGL) as shown:
            shown.open(view)
            shown.wait(READY)
            assert shown.run("getComputedStyle(document.querySelector('.pictures')).display") == "none"
            names = "[...document.querySelectorAll('[data-part=legend] li')].map(row => row.innerText.split('\\n')[0])"
            assert shown.run(names)[:2] == ["both, the same class", "prediction alone"]
            self.choose(shown, "shown", "prediction")
            assert shown.run(names) == ["1", "2"]
            self.choose(shown, "layout", "axial")
            before = shown.run("Array.from(document.getElementById('viewer').niivue.scene.crosshairPos)")
            told = shown.run("document.querySelector('[data-part=location]').textContent")
            assert told.endswith("; 1") or told.endswith("; 2"), "it starts within the first class"
            shown.wheel(500, 400, turns=3)
            shown.wait(f"document.getElementById('viewer').niivue.scene.crosshairPos[2] !== {before[2]}")
            assert shown.run("document.querySelector('[data-part=location]').textContent") != told
            visible = coloured(shown.picture(tmp_path / "shown.png"))
            assert visible > 1000
            shown.run("document.querySelector('[data-part=none]').click()")
            shown.wait("[...document.querySelectorAll('[data-part=legend] input')].every(box => !box.checked)")
            assert coloured(shown.picture(tmp_path / "hidden.png")) < visible / 20
            shown.run("document.querySelector('[data-part=legend] input').click()")
            assert visible / 20 < coloured(shown.picture(tmp_path / "one.png")) < visible
            assert shown.complaints == []

    def test_reference_against_prediction(self, view, tmp_path):
        """The voxels that it draws are counted where they are given to the drawing."""
        counts = (
            "(() => { const n = [0, 0, 0, 0, 0]; "
            "for (const v of document.getElementById('viewer').niivue.volumes[1].img) n[v]++; return n; })()"
        )
        with chromium(tmp_path / "profile", *SOFTWARE_WEBGL) as shown:
            shown.open(view)
            shown.wait(READY)
            labels, reference = (
                np.asarray(nib.load(view.with_name(f"{name}.nii.gz")).dataobj) for name in ("labels", "reference")
            )
            both = (labels > 0) & (reference > 0)
            assert shown.run(counts)[1:] == [
                np.count_nonzero(both & (labels == reference)),
                np.count_nonzero((labels > 0) & (reference == 0)),
                np.count_nonzero((labels == 0) & (reference > 0)),
                np.count_nonzero(both & (labels != reference)),
            ]
            self.choose(shown, "shown", "reference")
            assert shown.run(counts)[1:3] == [np.count_nonzero(reference == value) for value in (1, 2)]
            assert shown.complaints == []

    def test_without_webgl_it_shows_pictures(self, view, tmp_path):
        with chromium(tmp_path / "profile", *NO_WEBGL) as shown:
            shown.open(view)
            shown.wait(f"{VIEWER}.dataset.state === 'unsupported'")
            assert "no WebGL 2" in shown.run("document.body.innerText")
            assert shown.run("document.querySelector('.pictures img').getBoundingClientRect().width") > 500
            assert shown.complaints == []

    @staticmethod
    def choose(shown, name, value):
        shown.run(
            f"(() => {{ const s = document.querySelector('[data-part={name}]'); s.value = '{value}'; "
            "s.dispatchEvent(new Event('change')); })()"
        )
        shown.run("new Promise(resolve => setTimeout(resolve, 300))")


@pytest.mark.slow
def test_figures_go_to_wandb_offline(trained, tmp_path):
    succeed("evaluate", "experiment=demo", *TINY, cwd=trained)
    succeed("report", "run=outputs/demo", f"output={tmp_path}", "logger=wandb", cwd=trained)
    kept = {
        path.name.rpartition("_")[0].rpartition("_")[0]
        for path in (trained / "outputs/demo/wandb").glob("offline-run-*/files/media/images/report/*.png")
    }
    assert kept == {path.stem for path in (tmp_path / "figures").glob("*.png")}
