"""A metric of one's own takes a class and a YAML: then files, tables and comparisons have it."""

import csv
import json

import pytest

from uniseg.commands.app import run
from uniseg.environment import CONF_DIR
from uniseg.evaluation.case_record import read_cases
from uniseg.evaluation.output import write_evaluation
from uniseg.evaluation.records import Summary
from uniseg.evaluation.scoring import Scorer
from uniseg.evaluation.summary import summarise
from uniseg.metrics.registry import find_metrics
from uniseg.run_folder import RunFolder

CLASS = '''"""A metric of somebody's package."""

from dataclasses import dataclass

from uniseg.metrics.base import Metric


@dataclass(frozen=True, kw_only=True)
class WrongVoxels(Metric):
    weight: float

    def compute(self, pair):
        return self.weight * (pair.counts[1] + pair.counts[2])
'''
YAML = """_target_: somebodys_metrics.WrongVoxels
name: wrong
title: wrong
unit: kilovoxels
higher_is_better: false
weight: 0.001
"""


@pytest.fixture
def scored(run_dir, tmp_path, monkeypatch):
    """The cases of a run, scored again with the metric."""
    (tmp_path / "conf/metric").mkdir(parents=True)
    (tmp_path / "conf/metric/wrong.yaml").write_text(YAML)
    (tmp_path / "somebodys_metrics.py").write_text(CLASS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(run_dir).evaluation("test")
    before, records = Summary.read(folder.metrics), read_cases(folder)
    scorer = Scorer(metrics=find_metrics([CONF_DIR, tmp_path / "conf"]))
    scores = [s for each in records for s in scorer.score_case(each.task, each.source, each.case, each.prediction)]
    data = {name: task.data for name, task in before.tasks.items()}
    write_evaluation(folder, scores, summarise(scores, data, split="test", checkpoint="ab"), records)
    return run_dir


def test_files_tables_and_comparisons_have_it(scored, tmp_path):
    folder = RunFolder(scored).evaluation("test")
    with folder.scores.open() as file:
        row = next(row for row in csv.DictReader(file) if row["class"] == "lesion")
    assert row["wrong"] == "0.036", "a slice of 36 voxels is missed"
    details = json.loads(folder.metrics.read_text())["tasks"]["lesions"]["details"]["lesion"]
    assert details["wrong"] == pytest.approx(0.036)
    assert run(["report", f"run={scored}"]).code == 0
    page = RunFolder(scored).report.joinpath("report.html").read_text()
    assert '<th class="n">wrong, kilovoxels</th>' in page
    assert run(["report", f"runs=[{scored},{folder.path}]", "metric=wrong", "output=compared"]).code == 0
    assert "by wrong, kilovoxels" in (tmp_path / "compared/comparison.html").read_text()


def test_a_metric_that_is_not_there_is_reported(scored):
    end = run(["report", f"runs=[{scored},{scored}]", "metric=psnr"])
    assert end.code == 2
    assert "metric" in end.line
