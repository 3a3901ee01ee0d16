"""Any tool's label maps against the references: every case or none, nobody's files replaced."""

import csv
import json
import math

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from samples import save_nifti
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.evaluate import evaluate, next_step
from uniseg.evaluation.output import require_replaceable
from uniseg.evaluation.records import Summary, TaskSummary
from uniseg.evaluation.summary import summary_table
from uniseg.run_folder import EvaluationFolder


def ball(value=1, offset=0):
    label = np.zeros((6, 8, 8), np.uint8)
    label[2:4, 2 + offset : 5 + offset, 2:5] = value
    return label


@pytest.fixture
def folders(tmp_path):
    for number in range(3):
        save_nifti(tmp_path / f"labels/pancreas_{number:04d}.nii.gz", ball())
        save_nifti(tmp_path / f"predictions/pancreas_{number:04d}.nii.gz", ball() * (number == 0))
    return tmp_path


def evaluated(folder, *overrides):
    given = [f"predictions={folder / 'predictions'}", f"labels={folder / 'labels'}", f"output={folder / 'out'}"]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return evaluate(compose("evaluate", overrides=["task=[phantom_spleen]", *given, *overrides])).summary


def test_numbers_are_cases_and_no_channels(folders):
    summary = evaluated(folders)
    assert summary.tasks["phantom_spleen"].num_cases == 3
    assert summary.mean_dice == pytest.approx(1 / 3)
    with (folders / "out/scores.csv").open() as file:
        assert [(row["case_id"], row["dice"]) for row in csv.DictReader(file)] == [
            ("pancreas_0000", "1.0"),
            ("pancreas_0001", "0.0"),
            ("pancreas_0002", "0.0"),
        ]
    assert json.loads((folders / "out/metrics.json").read_text())["rules"]["tolerance_mm"] == 2.0


def test_our_probabilities_are_passed_over(folders):
    predictions = folders / "predictions"
    save_nifti(predictions / "pancreas_0000_probabilities.nii.gz", np.ones((2, 6, 8, 8), np.float32))
    with pytest.raises(InputError, match="no 'pancreas_0000_probabilities'"):
        evaluated(folders)
    (predictions / "pancreas_0000.json").write_text('{"checkpoint": "", "uniseg": "1"}')
    assert evaluated(folders).tasks["phantom_spleen"].num_cases == 3


def test_bad_cases_are_reported_together_and_nothing_is_written(folders, capsys):
    save_nifti(folders / "predictions/pancreas_0001.nii.gz", ball(7))
    (folders / "labels/pancreas_0002.nii.gz").write_bytes(b"")
    with pytest.raises(
        InputError,
        match=r"pancreas_0001\.nii\.gz: found label values \[7\] \(2 of 3 cases cannot be scored, so that nothing is\)",
    ):
        evaluated(folders)
    refusals = [line for line in capsys.readouterr().err.splitlines() if line.startswith("refused ")]
    assert [name in line for name, line in zip(("pancreas_0001", "pancreas_0002"), refusals, strict=True)] == [
        True,
        True,
    ]
    assert not (folders / "out").exists()


def test_whose_values_the_predictions_hold(folders):
    for number in range(3):
        for kind in ("labels", "predictions"):
            save_nifti(folders / f"{kind}/pancreas_{number:04d}.nii.gz", ball(4))
    mapped = "+tasks.phantom_spleen.source.label_map={4: 1}"
    assert evaluated(folders, mapped).mean_dice == evaluated(folders, mapped, "predictions_use=file").mean_dice == 1
    with pytest.raises(InputError, match=r"found label values \[4\] .*; expected values \[0, 1\] .*predictions_use"):
        evaluated(folders, mapped, "predictions_use=task")
    with pytest.raises(InputError, match="predictions_use: found 'files'; expected task, file or null"):
        evaluated(folders, "predictions_use=files")


def test_a_value_that_means_two_things_is_asked_for(folders):
    """1 is another organ in the label files, the spleen in the task."""
    for number in range(3):
        save_nifti(folders / f"labels/pancreas_{number:04d}.nii.gz", ball(2))
        save_nifti(folders / f"predictions/pancreas_{number:04d}.nii.gz", ball(1))
    mapped = "+tasks.phantom_spleen.source.label_map={1: 0, 2: 1}"
    with pytest.raises(
        InputError, match=r"label values of another tool, where 1 may be .*predictions_use=task or file"
    ):
        evaluated(folders, mapped)
    assert evaluated(folders, mapped, "predictions_use=task").mean_dice == 1
    assert evaluated(folders, mapped, "predictions_use=file").mean_dice == 0
    for number in range(3):
        (folders / f"predictions/pancreas_{number:04d}.json").write_text('{"checkpoint": "", "uniseg": "1"}')
    assert evaluated(folders, mapped).mean_dice == 1, "ours hold the task's"


def test_an_evaluation_takes_the_place_of_an_older_one_and_of_nothing_else(folders):
    evaluated(folders)
    evaluated(folders)
    (folders / "out/scores.csv").write_text("patient;dose\n")
    with pytest.raises(InputError, match=r"scores\.csv: found a file that uniseg\.evaluate did not write"):
        evaluated(folders)
    assert (folders / "out/scores.csv").read_text() == "patient;dose\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [("metrics.json", '{"accuracy": 1}'), ("cases.json", '[{"id": 3}]'), ("postprocessing.json", '{"kind": "x"}')],
)
def test_somebodys_tables_stay(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}: found a file that uniseg\.evaluate did not write"):
        require_replaceable(EvaluationFolder(tmp_path))


def test_an_output_that_is_a_file(folders):
    (folders / "out").write_text("")
    with pytest.raises(InputError, match="out: found a file; expected a folder"):
        evaluated(folders)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["name=mine"], "mine/evaluation/scores.csv. Next: uniseg report run=outputs/mine"),
        (
            ["name=mine", "split=val", "postprocessing=choose"],
            "with postprocessing=outputs/mine/evaluation_val/postprocessing.json",
        ),
        (["predictions=a", "labels=b", "output=c"], "c/scores.csv. Next: uniseg report runs=[c,...] compares"),
    ],
)
def test_the_end_says_where_and_what_next(given, told):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        assert told in next_step(compose("evaluate", overrides=["task=[phantom_spleen]", *given]))


def test_names_are_no_markup():
    task = TaskSummary(0.5, 0.5, math.nan, num_cases=1, num_patients=1, classes={})
    summary = Summary(0.5, 0.5, math.nan, {"[/x]": task})
    console = Console(record=True, width=100)
    console.print(summary_table(summary))
    assert "[/x]" in console.export_text()
