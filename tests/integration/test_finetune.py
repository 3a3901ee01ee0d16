"""``uniseg finetune``: a base, a few patients of a new task, a control, a verdict; killed and resumed, planned anew."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from started import TINY, run, succeed
from uniseg import load_model
from uniseg.cache.store import TaskCache
from uniseg.commands import prepared as prepared_tasks
from uniseg.evaluation.records import read_scores
from uniseg.evaluation.verdict import Verdict, dice_by_patient, mean_dice
from uniseg.weights.transfer_report import WeightsReport

SETTINGS = ["experiment=demo_finetune", *TINY[1:], "data.fold=0", "data.steps_per_epoch=20", "trainer.max_epochs=1"]
SETTINGS = [each for each in SETTINGS if "encoder.channels" not in each]
STOMACH = "phantom_stomach"


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    made = prepared_tasks.prepare_tasks
    monkeypatch.setattr(prepared_tasks, "prepare_tasks", lambda config, folder, num_workers: made(config, folder, 1))


@pytest.fixture(scope="module")
def tuned(trained) -> Path:
    """The folder of the commands after a fine-tuning with its control."""
    succeed("prepare", *SETTINGS, "num_workers=1", cwd=trained)
    done = succeed("finetune", *SETTINGS, cwd=trained)
    assert done.stderr.splitlines()[-1].startswith("undecided: val Dice")
    return trained


def folder_of(tuned, name="demo_finetune"):
    return tuned / "outputs" / name


def test_the_network_is_the_bases_with_another_task(tuned):
    """Though the experiment's own network has other channels."""
    base, model = (load_model(folder_of(tuned, name) / "checkpoints/last.ckpt") for name in ("demo", "demo_finetune"))
    assert model.config["encoder"] == base.config["encoder"]
    assert model.tasks.names == (STOMACH,)
    weights = WeightsReport.read(folder_of(tuned) / "weights.json")
    assert weights.transfer.coverage > 0.9
    assert len(weights.restored.factors) > 15
    assert {name.split(".")[0] for name in weights.transfer.missing} == {"conditioning", "head"}


def test_the_control_is_the_same_run_with_new_weights(tuned):
    configs = [yaml.safe_load((folder_of(tuned) / path / "config.yaml").read_text()) for path in (".", "control")]
    assert {key for key in configs[0] if configs[0][key] != configs[1][key]} <= {
        "base", "run_dir", "init", "finetune", "ckpt_path", "callbacks", "logger"
    }  # fmt: skip
    assert (configs[1]["init"]["name"], configs[1]["finetune"]["name"]) == ("scratch", "full")
    control = WeightsReport.read(folder_of(tuned) / "control/weights.json")
    assert (control.transfer, control.restored) == (None, None)
    steps = [
        torch.load(folder_of(tuned) / path / "checkpoints/last.ckpt", weights_only=True)["global_step"]
        for path in (".", "control")
    ]
    assert steps == [20, 20]


@pytest.mark.parametrize(("finetune", "ramp"), [("recipe_warmup", 10), ("recipe", 50)])
def test_new_weights_warm_up_as_they_are_told(tuned, finetune, ramp):
    """For half of the 20 steps; a sawtooth needs a base, so that the scheduler's 50 steps hold."""
    given = ["init=scratch", f"finetune={finetune}", "finetune.warmup=0.5", f"name=new_{finetune}"]
    succeed("train", *SETTINGS, *given, cwd=tuned)
    with (folder_of(tuned, f"new_{finetune}") / "logs/metrics.csv").open() as file:
        rates = [float(row["lr-AdamW"]) for row in csv.DictReader(file) if row["lr-AdamW"]]
    assert rates[0] == pytest.approx(0.01 / (ramp + 1))


def test_the_verdict_is_on_disk(tuned):
    verdict = Verdict.read(folder_of(tuned) / "verdict.json")
    assert (verdict.outcome, verdict.num_patients) == ("undecided", 1)
    assert "fewer than the 5" in verdict.reason
    assert Path(verdict.use).is_file()


def test_scores_of_val_alone_make_a_report(tuned, tmp_path):
    """As of a dataset in folds without a test split, or of three patients."""
    succeed("report", f"run={folder_of(tuned)}", f"output={tmp_path}", cwd=tuned)
    page = (tmp_path / "report.html").read_text()
    assert "Scores on the val split" in page
    assert "undecided" in page
    assert "data:image/png" in page


def test_trunk_and_new_parts_learn_by_their_teeth(tuned):
    with (folder_of(tuned) / "logs/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    last = {key: float(value) for row in rows for key, value in row.items() if value}
    assert {"lr-AdamW/new", "lr-AdamW/trunk"} <= set(last)
    parts = {key.removeprefix("rates/effective/") for key in last if key.startswith("rates/effective/")}
    assert {"stem", "encoder.0", "conditioning", "decoder.0"} <= parts
    for part in parts:
        assert last[f"rates/lr/{part}"] > 0
        assert 0 < last[f"rates/effective/{part}"] < 1
        assert last[f"norms/weight/{part}"] > 0.1


def test_killed_during_its_control_it_goes_on_there(tuned, tmp_path):
    shutil.copytree(tuned / "outputs", tmp_path / "outputs")
    folder = folder_of(tmp_path)
    shutil.rmtree(folder / "control")
    shutil.rmtree(folder / "evaluation_val")
    (folder / "verdict.json").unlink()
    before = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    refused = run("finetune", *SETTINGS, cwd=tmp_path)
    assert (refused.returncode, "ckpt_path=last" in refused.stderr) == (2, True)
    resumed = succeed("finetune", *SETTINGS, "ckpt_path=last", cwd=tmp_path)
    assert resumed.stderr.splitlines()[-1].startswith("undecided: val Dice")
    after = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    same = Verdict.read(folder_of(tuned) / "verdict.json")
    assert Verdict.read(folder / "verdict.json").control == same.control, "as the control that was not killed"


def test_repeats_are_judged_together(tuned, tmp_path):
    """A run that was judged alone gets another training of both."""
    shutil.copytree(tuned / "outputs", tmp_path / "outputs")
    folder = folder_of(tmp_path)
    done = succeed("finetune", *SETTINGS, "ckpt_path=last", "repeats=2", cwd=tmp_path)
    assert "Training 2 of 2, seed 1" in done.stderr
    assert "evaluate control " in done.stderr  # the bar
    second = folder / "repeats/1"
    configs = [yaml.safe_load((path / "config.yaml").read_text()) for path in (second, second / "control")]
    assert [each["seed"] for each in configs] == [1, 1]
    verdict = Verdict.read(folder / "verdict.json")
    assert verdict.num_trainings == 2
    alone = Verdict.read(folder_of(tuned) / "verdict.json")
    scores = [dice_by_patient(read_scores(path / "evaluation_val/scores.csv")) for path in (folder, second)]
    assert verdict.fine_tuned == pytest.approx(mean_dice(scores))
    assert alone.fine_tuned == scores[0]
    assert scores[0] != scores[1]


def test_a_run_that_trains_on_without_a_control_keeps_no_verdict(tuned, tmp_path):
    shutil.copytree(tuned / "outputs", tmp_path / "outputs")
    verdict = folder_of(tmp_path) / "verdict.json"
    resumed = [*SETTINGS, "ckpt_path=last", "control=false"]
    succeed("finetune", *resumed, cwd=tmp_path)
    assert verdict.exists(), "nothing was trained"
    succeed("finetune", *resumed, "trainer.max_epochs=2", "data.steps_per_epoch=2", cwd=tmp_path)
    assert not verdict.exists()


def test_overwriting_starts_the_control_anew_too(tuned, tmp_path):
    shutil.copytree(tuned / "outputs", tmp_path / "outputs")
    (folder_of(tmp_path) / "control/mark").touch()
    done = succeed("finetune", *SETTINGS, "overwrite=true", "control=false", cwd=tmp_path)
    assert "No control (control=false)" in done.stderr
    assert not (folder_of(tmp_path) / "control").exists()
    assert not (folder_of(tmp_path) / "verdict.json").exists()


def test_a_plan_like_the_base(tuned, tmp_path):
    """The task's file wants another spacing: it is prepared at the base's, beside the cache of its own."""
    own = f"tasks.{STOMACH}.spacing_mm=[7,7,7]"
    shutil.copytree(tuned / "outputs", tmp_path / "outputs")
    done = succeed("finetune", *SETTINGS, own, "name=planned", "control=false", cwd=tmp_path)
    assert "5 x 5 x 5 mm" in done.stderr
    assert "its task file says 7 x 7 x 7 mm" in done.stderr
    config = yaml.safe_load((folder_of(tmp_path, "planned") / "config.yaml").read_text())
    assert config["tasks"][STOMACH]["spacing_mm"] == [5, 5, 5]
    assert TaskCache(Path(tmp_path, config["paths"]["cache"], STOMACH)).task.spacing_mm == (5, 5, 5)
    assert load_model(folder_of(tmp_path, "planned") / "checkpoints/last.ckpt").tasks[0].spacing_mm == (5, 5, 5)


def test_a_cache_like_the_base_follows_the_scans(tuned, tmp_path):
    """It is made by this command alone, so that another split of the task comes to it by this command too."""
    shutil.copytree(tuned / "outputs", tmp_path / "outputs")
    splits = TaskCache(tuned / "outputs/cache" / STOMACH).splits.fold(STOMACH, 0)
    shutil.rmtree(tmp_path / "outputs/cache" / STOMACH)
    left, *kept = splits.train
    short = ["data.steps_per_epoch=1", "data.val_steps=1", "control=false", f"tasks.{STOMACH}.spacing_mm=[7,7,7]"]
    short += ["data.num_patients=null"]
    for name, train in (("fewer", kept), ("more", [left, *kept])):
        given = f"{{train:[{','.join(train)}],val:[{','.join(splits.val)}],test:[]}}"
        succeed("finetune", *SETTINGS, *short, f"name={name}", f"tasks.{STOMACH}.source.splits={given}", cwd=tmp_path)
    configs = [yaml.safe_load((folder_of(tmp_path, name) / "config.yaml").read_text()) for name in ("fewer", "more")]
    assert configs[0]["paths"]["cache"] == configs[1]["paths"]["cache"]
    trained = [load_model(folder_of(tmp_path, name) / "checkpoints/last.ckpt").provenance for name in ("fewer", "more")]
    assert [set(each.data[STOMACH]["train"]) for each in trained] == [set(kept), set(splits.train)]


def test_with_the_cache_alone_there_is_no_control(tuned, tmp_path):
    shutil.copytree(tuned / "outputs/cache", tmp_path / "outputs/cache")
    shutil.copytree(tuned / "outputs/demo", tmp_path / "outputs/demo")
    settings = [each for each in SETTINGS if not each.startswith("phantom.")]
    done = succeed("finetune", *settings, "~phantom", "data.steps_per_epoch=1", "data.val_steps=1", cwd=tmp_path)
    assert f"No control: the scans of {STOMACH} are not there, only their cache." in done.stderr
    assert Verdict.read(folder_of(tmp_path) / "verdict.json").outcome == "undecided"


def test_all_patients_may_be_for_training(tuned, tmp_path):
    """Then nothing is validated, and nothing is judged."""
    shutil.copytree(tuned / "outputs", tmp_path / "outputs")
    cases = sorted(TaskCache(tuned / "outputs/cache" / STOMACH).splits.fold(STOMACH, 0).train)
    given = [f"tasks.{STOMACH}.source.splits={{train:[{','.join(cases)}],val:[],test:[]}}", "paths.cache=outputs/all"]
    succeed("prepare", *SETTINGS, *given, "num_workers=1", cwd=tmp_path)
    done = succeed("finetune", *SETTINGS, *given, "name=all", "data.steps_per_epoch=2", cwd=tmp_path)
    assert "No control: no val case." in done.stderr
    verdict = Verdict.read(folder_of(tmp_path, "all") / "verdict.json")
    assert (verdict.outcome, verdict.reason) == ("undecided", "no val case")
    assert load_model(folder_of(tmp_path, "all") / "checkpoints/last.ckpt").provenance.data[STOMACH]["val"] == []
    refused = run("evaluate", *SETTINGS, *given, "name=all", cwd=tmp_path)
    assert "split=test: found no case in it; expected at least one; score those of split=val, or" in refused.stderr


def test_what_cannot_be_is_said_in_a_line(tuned, tmp_path):
    base = folder_of(tuned, "demo") / "checkpoints/last.ckpt"
    seen = [*SETTINGS, f"base={base}", "task=[phantom_spleen]", "control=true", "data.fold=1", "name=seen"]
    for arguments, words in [
        (["task=[phantom_spleen]"], "base: found no file"),
        ([f"base={tmp_path}/none.ckpt", "task=[phantom_spleen]"], "no such file"),
        ([*SETTINGS, "plan=likebase"], "did you mean like_base"),
        ([*SETTINGS, "control=maybe"], "control"),
        (seen, "val cases that the base never saw"),
    ]:
        done = run("finetune", *arguments, cwd=tuned)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr.splitlines()[-1]
    assert not (tuned / "outputs/seen/checkpoints").exists()


def test_another_split_than_the_caches_is_refused_before_training(tuned):
    splits = TaskCache(tuned / "outputs/cache" / STOMACH).splits.fold(STOMACH, 0)
    swapped = f"{{train:[{','.join(splits.val)}],val:[{','.join(splits.train)}],test:[{','.join(splits.test)}]}}"
    given = f"tasks.{STOMACH}.source.splits={swapped}"
    refused = run("finetune", *SETTINGS, "name=split", given, cwd=tuned)
    assert refused.returncode == 2
    assert "where it is for val" in refused.stderr.splitlines()[-1]
    assert not (tuned / "outputs/split/checkpoints").exists()


def test_dry_run_trains_nothing(tuned):
    done = succeed("finetune", *SETTINGS, "name=dry", "init.dry_run=true", cwd=tuned)
    assert "norms restored" in done.stderr
    assert not (tuned / "outputs/dry/checkpoints").exists()
