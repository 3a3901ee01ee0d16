"""A cross-validation of two folds: begun fold by fold, interrupted, resumed, pooled, made an ensemble, compared."""

import csv
import json
import shutil
import signal

import nibabel as nib
import numpy as np
import pytest

from started import TINY, run, signal_at, succeed
from uniseg.datasets.splits import SplitTable
from uniseg.inference.postprocessing import UNCHANGED, postprocess, read_postprocessing
from uniseg.weights.checkpoint import load_model

TASK = "phantom_spleen"
CASES = [f"spleen_{number:03d}" for number in range(5)]
HELD_OUT = [CASES[:2], CASES[2:]]
NNUNET = "nnUNetTrainer__nnUNetPlans__3d_fullres"
SETTINGS = [
    *("experiment=demo", *TINY[1:], f"task=[{TASK}]", "name=spleen", "paths.cache=outputs/folds"),
    *(f"+tasks.{TASK}.source.splits=folds.json", "rules.surfaces=false", "rules.lesions=false"),
]


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folded(prepared):
    """The suite with one task in two folds, as if it had been prepared so."""
    folds = [{"train": HELD_OUT[1 - k], "val": HELD_OUT[k]} for k in range(2)]
    (prepared / "folds.json").write_text(json.dumps(folds))
    cache = shutil.copytree(prepared / f"outputs/cache/{TASK}", prepared / f"outputs/folds/{TASK}")
    patients = {case_id: f"{TASK}/{case_id}" for case_id in CASES}
    (cache / "splits.json").write_text(json.dumps(SplitTable((), tuple(HELD_OUT), (), patients).to_dict()))
    return prepared


@pytest.fixture(scope="module")
def stages(folded):
    """Fold 0 alone; then all, with SIGTERM in the second epoch of fold 1; then all. What each call said."""
    alone = succeed("crossval", *SETTINGS, "folds=[0]", cwd=folded)
    first = (folded / "outputs/spleen_crossval/fold_0/checkpoints/last.ckpt").stat()
    stopped = run("crossval", *SETTINGS, signal_at(8, signal.SIGTERM), cwd=folded)
    unfinished = (folded / "outputs/spleen_crossval/fold_1/trained.json").exists()
    whole = succeed("crossval", *SETTINGS, f"nnunet_folds={nnunet_results(folded)}", cwd=folded)
    last = (folded / "outputs/spleen_crossval/fold_0/checkpoints/last.ckpt").stat()
    assert (first.st_ino, first.st_mtime_ns) == (last.st_ino, last.st_mtime_ns), "trained again"
    return alone, stopped, unfinished, whole


@pytest.fixture(scope="module")
def crossval(folded, stages):
    return folded / "outputs/spleen_crossval"


def nnunet_results(folded):
    """nnU-Net's, as good as the references but in case 2, which it misses; case 1 lies in its other fold."""
    folder = folded / "nnUNet_results/Dataset001_Spleen"
    for case_id in CASES:
        fold = 1 if case_id in HELD_OUT[1] or case_id == CASES[1] else 0
        source = nib.load(folded / f"outputs/phantoms/{TASK}/labelsTr/{case_id}.nii.gz")
        path = folder / NNUNET / f"fold_{fold}/validation/{case_id}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.asarray(source.dataobj) * (case_id != CASES[2]), source.affine), path)
        (path.parent / "summary.json").write_text("{}")
    return folder


def test_a_stopped_one_goes_on_where_it_was(stages):
    alone, stopped, unfinished, whole = stages
    assert "the command without folds= pools all" in alone.stderr
    assert (stopped.returncode, unfinished) == (143, False)
    assert "Fold 0: trained.\n" in stopped.stderr
    assert "Resuming after step 6 of outputs/spleen_crossval/fold_1/checkpoints/last.ckpt." in whole.stderr
    assert "Fold 1: trained, 8 steps." in whole.stderr
    assert "evaluate fold 1 " in whole.stderr  # the bar
    assert "Fold 0: evaluated before" in whole.stderr


def test_pooled_scores_are_those_of_all_patients(crossval):
    folds = [rows(crossval / f"fold_{number}/evaluation_val/scores.csv") for number in range(2)]
    assert [[row["case_id"] for row in fold] for fold in folds] == HELD_OUT
    pooled = json.loads((crossval / "pooled/metrics.json").read_text())
    expected = np.mean([float(row["dice"]) for fold in folds for row in fold])
    assert pooled["mean_dice"] == pytest.approx(expected, abs=1e-12)
    task = pooled["tasks"][TASK]
    assert (task["num_patients"], pooled["split"]) == (5, "val")
    means = [np.mean([float(row["blind_dice"]) for row in fold]) for fold in folds]
    assert pooled["blind_mean_dice"] == pytest.approx((2 * means[0] + 3 * means[1]) / 5, abs=1e-12)


def test_the_ensemble_predicts_with_the_postprocessing_of_all_folds(crossval, tmp_path):
    chosen = json.loads((crossval / "pooled/postprocessing.json").read_text())["choices"]
    assert [choice["num_cases"] for choice in chosen] == [5], "of all folds together"
    rules = read_postprocessing(crossval / "ensemble/postprocessing.json")
    assert rules[TASK]["spleen"] != UNCHANGED
    scan = crossval.parent / f"phantoms/{TASK}/imagesTr/{CASES[0]}_0000.nii.gz"
    maps = {}
    for name, given in (("as_chosen", []), ("raw", ["postprocessing=null"])):
        given += [f"checkpoint={crossval / 'ensemble'}", f"input={scan}", f"output={tmp_path / name}"]
        succeed("predict", *given, "inference.device=cpu", cwd=tmp_path)
        maps[name] = np.asarray(nib.load(tmp_path / name / TASK / f"{CASES[0]}.nii.gz").dataobj)
    (task,) = load_model(crossval / "fold_0/checkpoints/last.ckpt").tasks
    assert (maps["as_chosen"] != maps["raw"]).any()
    voxel_ml = np.prod(nib.load(scan).header.get_zooms()[:3]) / 1000
    np.testing.assert_array_equal(maps["as_chosen"], postprocess(maps["raw"], task, rules[TASK], voxel_ml))


def test_the_report_stands_beside_nnunets_folds(stages, crossval):
    done = stages[-1]
    assert done.stdout.splitlines()[-1] == "outputs/spleen_crossval/report/report.html"
    assert f"{TASK}: 1 of 5 cases lie in another fold there" in done.stderr
    pooled = json.loads((crossval / "pooled/metrics.json").read_text())["mean_dice"]
    assert f"5 patients: Dice {pooled:.3f} against 0.800" in done.stderr
    assert "too few patients to tell" in done.stderr
    (row,) = rows(crossval / "report/comparison.csv")
    assert (row["run"], row["against"], row["patients"], row["other"]) == ("ours", "theirs", "5", "0.8000")
    assert float(row["difference"]) == pytest.approx(pooled - 0.8, abs=1e-3)
    assert row["other_complete_misses"] == "1"
    page = (crossval / "report/report.html").read_text()
    assert f"Pooled val Dice {pooled:.3f}" in page
    assert page.count("data:image/png;base64,") == 1


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            ["optimizer.lr=0.01"],
            "error: outputs/spleen_crossval: found optimizer.lr 0.01; expected 0.015, with which it was begun; "
            "continue it as it was begun, or give another name=",
        ),
        ([f"+tasks.{TASK}.source.splits=null"], f"found 2 folds of {TASK} that are not those of its file, which has 5"),
        (["folds=[0,2]"], "error: folds: found 2; expected 0 to 1; correct folds=[...]"),
        (["nnunet_folds=nowhere"], "error: nowhere: found no such folder"),
        (["paths.cache=nothing"], "uniseg prepare"),
        ([f"+tasks.{TASK}.source.splits={{train: [spleen_000], val: [spleen_001], test: []}}"], "expected folds;"),
    ],
)
def test_what_is_refused(folded, crossval, given, line):
    keys = [each.partition("=")[0] for each in given]
    settings = [each for each in SETTINGS if each.partition("=")[0] not in keys]
    done = run("crossval", *settings, *given, cwd=folded)
    assert done.returncode == 2
    assert line in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_folds_side_by_side_are_those_in_turn(folded, crossval):
    done = succeed("crossval", *SETTINGS, "name=beside", "parallel=2", "trainer.max_epochs=1", cwd=folded)
    assert "Fold 1: at work, see outputs/beside_crossval/fold_1.log." in done.stderr
    succeed("crossval", *SETTINGS, "name=in_turn", "trainer.max_epochs=1", cwd=folded)
    pooled = [folded / f"outputs/{name}_crossval/pooled/scores.csv" for name in ("beside", "in_turn")]
    assert pooled[0].read_text() == pooled[1].read_text()
    refused = run("crossval", *SETTINGS, "name=bad", "parallel=2", "trainer.accelerator=tpu", cwd=folded)
    assert refused.returncode == 2
    assert "ended with exit code 2: error: " in refused.stderr
