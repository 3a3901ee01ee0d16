"""The layout of a run folder, as users and older versions know it."""

import pytest

from uniseg.run_folder import ReportFolder, RunFolder, file_of_evaluation


def test_files_have_the_names_that_users_know(tmp_path):
    run = RunFolder(tmp_path)
    known = {
        run.config: "config.yaml",
        run.checkpoint: "checkpoints/last.ckpt",
        run.lock: ".lock",
        run.tracking: "tracking.json",
        run.log: "logs/metrics.csv",
        run.transfer_report: "weights.json",
        run.forgetting_report: "old_tasks.json",
        run.prompt_evolution: "prompts/evolution.npz",
        run.health: "prompts/health.npz",
        run.report: "report",
        ReportFolder(run.report).page: "report/report.html",
        ReportFolder(run.report).figures: "report/figures",
        run.evaluation("test").scores: "evaluation/scores.csv",
        run.evaluation("val").metrics: "evaluation_val/metrics.json",
        run.evaluation("test").prompt_map: "evaluation/prompts/map.npz",
    }
    assert {path.relative_to(tmp_path).as_posix() for path in known} == set(known.values())


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ((), "evaluation_val"),
        (("evaluation_dev",), "evaluation_dev"),
        (("evaluation_dev", "evaluation_val"), "evaluation_val"),
    ],
)
def test_an_older_run_keeps_the_folder_of_its_validation_cases(tmp_path, there, name):
    for folder in there:
        (tmp_path / folder).mkdir()
    assert RunFolder(tmp_path).evaluation("val").path.name == name


def test_a_file_is_found_under_the_folder_s_name_of_today(tmp_path):
    (tmp_path / "evaluation_val").mkdir()
    (tmp_path / "evaluation_val" / "a.json").touch()
    former = tmp_path / "evaluation_dev"
    assert file_of_evaluation(former / "a.json") == tmp_path / "evaluation_val" / "a.json"
    assert file_of_evaluation(former / "b.json") == former / "b.json"
    former.mkdir()
    (former / "a.json").touch()
    assert file_of_evaluation(str(former / "a.json")) == former / "a.json"
