"""Numbers as text."""

from uniseg.metrics.registry import packaged_metrics
from uniseg.reporting.run import read_run
from uniseg.reporting.tables import NOTHING, case_table, number, settings_rows, summary_line, task_table


def test_task_table_shows_the_numbers_of_the_evaluation(run_dir):
    organs, lesions = (task_table(task, packaged_metrics()) for task in read_run(run_dir).tasks)
    assert [(r.name, r.dice, r.dice_nnunet, r.baseline_dice) for r in organs.rows] == [
        ("liver", "0.551", "0.550", "0.501"),
        ("spleen", "0.651", "0.533", "0.501"),
    ]
    assert (organs.mean.dice, organs.mean.dice_nnunet, organs.mean.baseline_dice) == ("0.601", "0.542", "0.501")
    assert (organs.cases, organs.spacing_mm, lesions.modalities) == ("20 / 3 / 4", "2, 1, 1.5", "FLAIR, T1")
    assert organs.metric_heads == ("IoU", "NSD", "HD95, mm", "ASSD, mm")
    assert organs.rows[0].metrics == (NOTHING,) * 4, "an older file has no details"
    assert organs.warning == ""
    assert lesions.warning == "small: 1 patient; differences are not tests"


def test_summary_counts_each_patient_once(run_dir):
    path = run_dir / "evaluation" / "scores.csv"
    path.write_text(path.read_text().replace("site/p", "site/a"))
    line = summary_line(read_run(run_dir))
    means = "Mean test Dice 0.425 (nnU-Net's convention 0.392); majority-vote baseline 0.313"
    assert line == f"{means}; 2 tasks, 5 cases, 4 patients."


def test_settings_leave_out_what_the_configuration_does_not_hold():
    config = {
        "experiment": None,
        "optimizer": {"lr": 1e-4, "betas": [0.9, 0.99]},
        "trainer": {"max_steps": -1, "max_epochs": 3},
        "model": {"encoder": {"channels": [4, 8]}},
    }
    assert settings_rows(config) == [("encoder channels", "4, 8"), ("epochs", "3"), ("learning rate", "0.0001")]
    assert settings_rows({}) == []


def test_settings_prefer_the_outermost_key():
    assert settings_rows({"callbacks": {"draw": {"seed": 1}}, "seed": 2}) == [("seed", "2")]


def test_case_table_is_sorted_with_volumes(run_dir):
    table = case_table(read_run(run_dir).tasks[0])
    assert table.head == ("case", "patient", "mean Dice", "baseline", "liver", "spleen")
    assert [row[0] for row in table.rows] == ["a", "b", "d", "c"]
    assert table.rows[0] == ("a", "site/a", "0.800", "0.400", "0.900 (123 → 0.5 ml)", "0.700 (123 → 0.5 ml)")


def test_nan_is_a_dash():
    assert number(float("nan")) == NOTHING
