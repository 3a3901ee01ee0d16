"""The page, whole."""

import json
import re

import pytest

from uniseg.errors import InputError
from uniseg.reporting.html import write_report

PNG = b"\x89PNG\r\n\x1a\n"


def test_page_holds_everything_by_itself(page):
    assert page.parts[-2:] == ("out", "report.html")
    page = page.read_text()
    for text in (
        "organs",
        "lesions",
        "majority-vote baseline 0.313",
        "0.501",
        "Majority-vote baseline (location prior): the class that",
        "0.126",
        "small: 1 patient",
        "Best: b",
        "Median: d",
        "Worst: c",
        "site/c",
        "CC &lt;BY&gt; 4.0",
        "tiny",
    ):
        assert text in page
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert sources
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert not re.search(r"https?:|url\(|@import", page)
    order = [page.index(f'id="{anchor}"') for anchor in ("scores", "curves", "overlays", "spread", "cases")]
    assert order == sorted(order)


def test_pictures_lie_beside_the_page(page):
    files = sorted((page.parent / "figures").iterdir())
    assert [file.name for file in files] == [
        "dice_per_case.png",
        "loss.png",
        "overlay_lesions_only_case.png",
        "overlay_organs_best.png",
        "overlay_organs_median.png",
        "overlay_organs_worst.png",
        "pseudo_dice.png",
    ]
    assert all(file.read_bytes().startswith(PNG) for file in files)


def test_a_log_without_epochs_still_gives_a_page(run_dir, tmp_path):
    (run_dir / "logs" / "metrics.csv").write_text("epoch,step\n")
    page = write_report(run_dir, tmp_path / "out").read_text()
    assert "logged no loss" in page


def test_bad_input_writes_nothing(run_dir, tmp_path):
    (run_dir / "evaluation" / "predictions" / "organs_c.nii.gz").unlink()
    with pytest.raises(InputError, match=r"organs_c\.nii\.gz"):
        write_report(run_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_modality_is_an_error(run_dir, tmp_path):
    path = run_dir / "evaluation" / "cases.json"
    entries = json.loads(path.read_text())
    entries[-1]["images"].pop()
    path.write_text(json.dumps(entries))
    with pytest.raises(InputError, match=r"found 1 channels; expected 2 for \['FLAIR', 'T1'\]"):
        write_report(run_dir, tmp_path / "out")
