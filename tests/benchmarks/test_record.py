"""RESULTS.md says what results.json holds; every script of ``make bench`` starts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("bench_*.py") if path.stem != "bench_libraries")  # kornia, torchio


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def rows():
    return {row["name"]: row for row in json.loads((FOLDER / "results.json").read_text())}


def row(ours, anchor=None, unit="s"):
    ratio = None if anchor is None else anchor / ours
    values = {"ours": ours, "anchor": anchor, "ratio": ratio, "unit": unit}
    return values | {"command": "python benchmarks/x.py --y", "machine": "a core", "commit": "1a2b"}


def test_the_page_is_the_one_that_the_rows_make():
    import tables

    assert (FOLDER / "RESULTS.md").read_text() == tables.text(FOLDER / "results.json")


def test_every_number_to_reach_has_a_line():
    import bars

    lines = list(bars.lines(rows(), [json.loads((FOLDER / "gpu/nvidia_h200.json").read_text())]))
    assert [line[0] for line in lines] == [bar.what for bar in bars.BARS]
    assert len(lines) == 15
    stated = {name for bar in bars.BARS for name in bar.names}
    later = {"import uniseg", "demo, image share of the task prompts", "demo, mean test Dice"}  # not yet measured
    assert stated - set(rows()) <= later


def test_what_is_not_measured_is_said_and_what_is_has_its_ratio():
    import bars

    reader = row(50, 10, "patches/s") | {"ratio": 5.0}
    measured = {line[0]: line[3:] for line in bars.lines({bars.BARS[3].names[0]: reader}, [])}
    assert measured[bars.BARS[3].what] == ("5.00x (50.0 a second)", "a core", "1a2b", "`make bench BENCH=reader`")
    assert measured[bars.BARS[1].what][:3] == (bars.NOT_MEASURED, "", "")
    assert measured["resume"][0] == "held by a test"


def test_a_row_is_in_one_table_with_its_figures(tmp_path):
    import tables

    given = {
        "training step, width 8, 32x96x96, batch 2, fp32, cpu": row(2.0, 3.0, "s, median; anchor: plain, same"),
        "scale, time to begin, 10 tasks, 100 cases": row(0.5),
        "scale, time to begin, 20 tasks, 100 cases": row(0.75),
        "something new": row(7.0, None, "s; read 1.25"),
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"name": name} | values for name, values in given.items()]))
    text = tables.text(path)
    assert "| width 8 | 2.0 | 3.0 | 1.5 | s, median; anchor: plain, same |" in text
    assert "|  | time to begin (s) |" in text
    assert "| 20 tasks, 100 cases | 0.75 |" in text
    assert text.count("something new") == 1
    assert "| something new | 7.0 |  |  | s |" in text
    assert "`python benchmarks/x.py`. a core. Commit 1a2b." in text


def test_subjects_are_scripts_and_say_what_they_lack():
    import bench_all

    given = {"nnunet_python": Path("n"), "data": None, "scan": None, "checkpoint": Path("nowhere.ckpt")}
    assert all((FOLDER / f"bench_{name}.py").is_file() for name in bench_all.SUBJECTS)
    assert [words[2:] for words in bench_all.commands("augment", given)] == [
        ["--nnunet-python", "n", "--channels", "1"],
        ["--nnunet-python", "n", "--channels", "4"],
    ]
    assert bench_all.run("prepare", given) == "skipped: give DATA="
    assert "run the subject demo" in bench_all.run("predict_speed", given)
    (words,) = bench_all.commands("predict_speed", given | {"scan": Path("s")})
    assert words[2:] == ["--checkpoint", "nowhere.ckpt", "--published", "--scan", "s"]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_starts(script):
    words = [sys.executable, str(FOLDER / f"{script}.py"), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
