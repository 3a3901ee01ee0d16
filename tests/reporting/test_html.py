"""The page, whole."""

import html
import json
import re

import pytest
import yaml

from uniseg.errors import InputError
from uniseg.reporting.html import write_report
from uniseg.reporting.markup import script_hash
from uniseg.reporting.niivue import make_library
from uniseg.task import PRETEXT

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
    anchors = ("scores", "failures", "training", "data", "curves", "overlays", "spread", "cases")
    order = [page.index(f'id="{anchor}"') for anchor in anchors]
    assert order == sorted(order)
    table = page[page.index('<table class="sortable">') : page.index("</table>")]
    rows = re.findall(r'<tr><td><a href="#task-(\d)">(\w+)</a></td><td>(\w+)</td>', table)
    assert rows == [("0", "organs", "liver"), ("0", "organs", "spleen"), ("1", "lesions", "lesion")]
    assert set(re.findall(r'href="#([\w-]+)"', page)) <= set(re.findall(r'id="([\w-]+)"', page)), "every link leads on"
    assert 'id="viewer"' not in page


def test_a_page_with_a_viewer_holds_the_worst_cases_within_its_limit(run_dir, tmp_path, monkeypatch):
    library = make_library("globalThis.Niivue=class{};", "2.4.4", "BSD")
    monkeypatch.setattr("uniseg.reporting.html.find_library", lambda: library)
    page = write_report(run_dir, tmp_path / "out", viewer_mb=0.05).read_text()
    (text,) = re.findall(r'id="viewer-cases">(.*?)</script>', page)
    cases = json.loads(text)
    assert [case["title"].partition(",")[0] for case in cases] == ["lesions: p", "organs: c", "organs: d"]
    assert [row["detail"].partition(";")[0] for row in cases[1]["tasks"][0]["classes"]] == ["Dice 0.200"]
    assert [scan["name"] for scan in cases[0]["scans"]] == ["FLAIR", "T1"]
    blobs = re.findall(r'<script type="text/plain" id="viewer-\d+-\d+">([^<]*)<', page)
    assert len(blobs) == 4 + 3 + 3
    assert 0 < sum(map(len, blobs)) <= 50_000
    assert '<a href="#view-1">c</a>' in page
    assert set(re.findall(r'href="#([\w-]+)"', page)) <= set(re.findall(r'id="([\w-]+)"', page))
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0])
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    assert all(script_hash(code) in policy for code in (*scripts, "globalThis.Niivue=class{};"))
    assert (tmp_path / "out" / "figures" / "overlay_organs_worst.png").read_bytes().startswith(PNG)


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


def test_a_run_of_which_nothing_is_scored_still_gives_a_page(run_dir, tmp_path):
    config = yaml.safe_load((run_dir / "config.yaml").read_text()) | {"tasks": {"masked": {"kind": PRETEXT}}}
    (run_dir / "config.yaml").write_text(yaml.safe_dump(config))
    page = write_report(run_dir, tmp_path / "out", viewer_mb=1).read_text()
    assert "1 pretext task, learnt without labels" in page
    assert set(re.findall(r'href="#([\w-]+)"', page)) <= set(re.findall(r'id="([\w-]+)"', page))
    assert 'id="scores"' not in page


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
