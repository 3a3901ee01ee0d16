"""Prepare, train, resume, predict, evaluate, report: the commands, as typed."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch

from started import TINY, run, succeed
from uniseg import Predictor, load_model, predict_files
from uniseg.images.files import read_volume

NAMES = ("phantom_liver", "phantom_spleen", "phantom_whole_body_tumour")


def weights(folder, name):
    return torch.load(folder / "outputs" / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_two_epochs_with_validation(trained):
    with (trained / "outputs/demo/logs/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows if row["val/pseudo_dice"]] == ["0", "1"]
    assert all(float(row["train/loss"]) < 2.5 for row in rows if row["train/loss"])
    for name in NAMES:
        assert any(row[f"train/loss/{name}"] for row in rows)
    assert any(row["val/pseudo_dice/phantom_liver/tumour"] for row in rows)


def test_the_checkpoint_describes_itself(trained):
    model = load_model(trained / "outputs/demo/checkpoints/last.ckpt")
    assert model.tasks.names == NAMES
    assert model.tasks[2].modalities == ("CT", "PET")
    assert model.tasks[2].normalization[1].masked is not None
    state = weights(trained, "demo")
    torch.testing.assert_close(model.state_dict()["stem.convs.2.weight"], state["model.stem.convs.2.weight"])


def test_test_cases_are_not_in_the_cache(prepared):
    for name in NAMES:
        splits = json.loads((prepared / f"outputs/cache/{name}/splits.json").read_text())
        cached = {path.parts[-3] for path in (prepared / f"outputs/cache/{name}").rglob("image.b2nd")}
        assert splits["test"]
        assert not cached & set(splits["test"])
        assert len(cached) == 7 - len(splits["test"])


def test_predict_writes_in_the_scans_own_grid(trained, tmp_path):
    scan = next((trained / "outputs/phantoms/phantom_spleen/imagesTr").glob("*_0000.nii.gz"))
    checkpoint = f"checkpoint={trained / 'outputs/demo/checkpoints/last.ckpt'}"
    done = succeed(
        "predict",
        checkpoint,
        f"input={scan}",
        f"output={tmp_path}",
        "modality=[CT]",
        "inference.device=cpu",
        cwd=tmp_path,
    )
    case = scan.name.removesuffix("_0000.nii.gz")
    assert sorted(done.stdout.split()) == sorted(str(tmp_path / name / f"{case}.nii.gz") for name in NAMES[:2])
    written, original = nib.load(tmp_path / "phantom_liver" / f"{case}.nii.gz"), nib.load(scan)
    assert written.shape == original.shape
    np.testing.assert_allclose(written.affine, original.affine)
    beside = json.loads((tmp_path / "phantom_liver" / f"{case}.json").read_text())
    voxel_ml = np.prod(original.header.get_zooms()) / 1000
    assert beside["classes"] == ["background", "liver", "tumour"]
    assert beside["volumes_ml"]["tumour"] == pytest.approx(
        np.count_nonzero(np.asarray(written.dataobj) == 2) * voxel_ml, rel=1e-3, abs=1e-3
    )


def test_several_tasks_in_one_map(trained, tmp_path):
    scan = next((trained / "outputs/phantoms/phantom_spleen/imagesTr").glob("*_0000.nii.gz"))
    given = [
        f"checkpoint={trained / 'outputs/demo/checkpoints/last.ckpt'}",
        f"input={scan}",
        "inference.device=cpu",
        "modality=[CT]",
    ]
    case = scan.name.removesuffix("_0000.nii.gz")
    done = succeed("predict", *given, f"output={tmp_path}", "merge=true", cwd=tmp_path)
    assert done.stdout.split() == [str(tmp_path / f"merged/{case}.nii.gz")]
    succeed("predict", *given, f"output={tmp_path}", cwd=tmp_path)
    merged, liver, spleen = (
        np.asarray(nib.load(tmp_path / name / f"{case}.nii.gz").dataobj) for name in ("merged", *NAMES[:2])
    )
    assert merged.shape == liver.shape
    np.testing.assert_array_equal(merged > 0, (liver > 0) | (spleen > 0))
    alone = (spleen == 0) & (liver > 0)
    np.testing.assert_array_equal(merged[alone], liver[alone])
    assert set(np.unique(merged[(liver == 0) & (spleen > 0)])) <= {3}
    assert "3 phantom_spleen_spleen " in (tmp_path / "merged/labels.ctbl").read_text()


def test_predicting_again_keeps_what_is_there(trained, tmp_path):
    scan = next((trained / "outputs/phantoms/phantom_spleen/imagesTr").glob("*_0000.nii.gz"))
    predictor = Predictor(load_model(trained / "outputs/demo/checkpoints/last.ckpt"), checkpoint_hash="a")
    (path,) = predict_files(predictor, scan, tmp_path, tasks="phantom_spleen")
    first = path.stat().st_mtime_ns
    predict_files(predictor, scan, tmp_path, tasks="phantom_spleen")
    assert path.stat().st_mtime_ns == first
    predict_files(Predictor(predictor.model, checkpoint_hash="b"), scan, tmp_path, tasks="phantom_spleen")
    assert path.stat().st_mtime_ns > first


def test_tasks_predicted_together_or_alone_agree(trained):
    volume = read_volume([next((trained / "outputs/phantoms/phantom_spleen/imagesTr").glob("*_0000.nii.gz"))])
    predictor = Predictor(load_model(trained / "outputs/demo/checkpoints/last.ckpt"))
    together = predictor.predict(volume, NAMES[:2])
    for name in NAMES[:2]:
        np.testing.assert_array_equal(together[name], predictor.predict(volume, [name])[name])


def test_evaluate_then_report(trained):
    done = succeed("evaluate", "experiment=demo", *TINY, cwd=trained)
    assert "baseline" in done.stdout
    metrics = json.loads((trained / "outputs/demo/evaluation/metrics.json").read_text())
    assert set(metrics["tasks"]) == set(NAMES)
    with (trained / "outputs/demo/evaluation/scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, task in metrics["tasks"].items():
        per_class = {
            c: np.mean([float(r["dice"]) for r in rows if r["task"] == name and r["class"] == c])
            for c in task["classes"]
        }
        assert task["classes"] == pytest.approx(per_class, abs=1e-4)
        assert task["dice"] == pytest.approx(np.mean(list(per_class.values())), abs=1e-4)
    assert metrics["mean_dice"] == pytest.approx(np.mean([t["dice"] for t in metrics["tasks"].values()]))
    report = succeed("report", "run=outputs/demo", cwd=trained)
    html = (trained / "outputs/demo/report/report.html").read_text()
    assert str(trained / "outputs/demo/report/report.html").endswith(report.stdout.split()[0])
    assert all(name in html for name in NAMES)
    with (
        np.load(trained / "outputs/demo/evaluation/prompts/similarity.npz") as similarity,
        np.load(trained / "outputs/demo/prompts/evolution.npz") as evolution,
    ):
        assert tuple(similarity["tasks"]) == NAMES
        assert f"over {similarity['num_windows']} windows of validation scans" in html
        np.testing.assert_allclose(np.diag(similarity["cosine"]), 1, atol=1e-5)
        assert evolution["epochs"].tolist() == [0, 1]


def test_a_run_against_its_reference(trained, tmp_path):
    """Another tool's label maps are a run too; here the reference itself."""
    succeed("evaluate", "experiment=demo", *TINY, "rules.lesions=false", f"output={tmp_path}/own", cwd=trained)
    labels = trained / "outputs/phantoms/phantom_liver/labelsTr"
    succeed(
        "evaluate",
        f"predictions={labels}",
        f"labels={labels}",
        "task=[phantom_liver]",
        f"output={tmp_path}/perfect",
        cwd=tmp_path,
    )
    done = succeed("report", f"runs=[{tmp_path}/own,{tmp_path}/perfect]", "metric=nsd", cwd=tmp_path)
    assert done.stdout.strip() == "comparison/comparison.html"
    rows = json.loads((tmp_path / "comparison/comparison.json").read_text())["runs"]["perfect"]
    assert [(row["task"], row["own"], row["verdict"]) for row in rows] == [
        ("phantom_liver", 1.0, "too few patients to tell")
    ] * 2


def test_evaluate_any_tools_folders(trained, tmp_path):
    labels = trained / "outputs/phantoms/phantom_liver/labelsTr"
    done = succeed(
        "evaluate",
        f"predictions={labels}",
        f"labels={labels}",
        "task=[phantom_liver]",
        f"output={tmp_path}",
        cwd=tmp_path,
    )
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["mean_dice"] == 1
    assert metrics["tasks"]["phantom_liver"]["num_cases"] == 7
    assert metrics["blind_mean_dice"] is None
    assert "phantom_liver" in done.stdout


@pytest.mark.parametrize(
    "launcher",
    ["basic", pytest.param("joblib", marks=pytest.mark.slow), pytest.param("submitit_local", marks=pytest.mark.slow)],
)
def test_a_sweep_makes_one_run_per_value(prepared, launcher):
    settings = [*TINY, "trainer.max_epochs=1", f"name={launcher}", f"hydra/launcher={launcher}"]
    succeed("train", "-m", "experiment=demo", *settings, "optimizer.lr=0.01,0.02", cwd=prepared)
    sweep = prepared / f"outputs/{launcher}/sweep"
    rates = [(sweep / f"{job}/config.yaml").read_text() for job in (0, 1)]
    assert "lr: 0.01" in rates[0]
    assert "lr: 0.02" in rates[1]
    assert (sweep / "1/checkpoints/last.ckpt").exists()


def test_preparing_again_keeps_finished_cases(prepared):
    array = next((prepared / "outputs/cache/phantom_liver").rglob("image.b2nd"))
    before = array.stat().st_mtime_ns
    succeed("prepare", "experiment=demo", *TINY, "num_workers=1", cwd=prepared)
    assert array.stat().st_mtime_ns == before


def test_upstream_without_its_data_says_what_is_missing(tmp_path):
    done = run("train", "experiment=upstream", cwd=tmp_path)
    assert done.returncode == 2
    assert "11 datasets are missing" in done.stderr
    assert "http://medicaldecathlon.com" in done.stderr
    assert "CC BY-SA 4.0" in done.stderr
    assert "experiment=demo needs none" in done.stderr
    assert "Traceback" not in done.stderr


def test_postprocessing_is_chosen_on_val_and_applied_on_test(trained, tmp_path):
    done = succeed("evaluate", "experiment=demo", *TINY, "split=val", "postprocessing=choose", cwd=trained)
    assert "upper bound" in done.stdout
    folder = trained / "outputs/demo/evaluation_val"
    choices = json.loads((folder / "postprocessing.json").read_text())["choices"]
    assert [(c["task"], c["class_name"]) for c in choices][:2] == [
        ("phantom_liver", "liver"),
        ("phantom_liver", "tumour"),
    ]
    assert json.loads((folder / "metrics.json").read_text())["split"] == "val"
    chosen = f"postprocessing={folder / 'postprocessing.json'}"
    succeed("evaluate", "experiment=demo", *TINY, chosen, f"output={tmp_path}", cwd=trained)
    assert json.loads((tmp_path / "metrics.json").read_text())["postprocessed"] is True
    refused = run("evaluate", "experiment=demo", *TINY, "postprocessing=choose", cwd=trained)
    assert (refused.returncode, "found 'test'; expected val" in refused.stderr) == (2, True)


def test_folds_are_pooled(trained, tmp_path):
    """Two folds, made of the scores of one evaluation."""
    succeed("evaluate", "experiment=demo", *TINY, cwd=trained)
    with (trained / "outputs/demo/evaluation/scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    cases = sorted({row["case_id"] for row in rows})
    for fold in range(2):
        scores = tmp_path / f"fold{fold}" / ("evaluation_val", "evaluation_dev")[fold] / "scores.csv"
        scores.parent.mkdir(parents=True)
        with scores.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(row for row in rows if cases.index(row["case_id"]) % 2 == fold)
    succeed(
        "evaluate", f"pool=[{tmp_path / 'fold0'},{tmp_path / 'fold1'}]", f"output={tmp_path / 'pooled'}", cwd=tmp_path
    )
    pooled, whole = (
        json.loads(path.read_text())
        for path in (tmp_path / "pooled/metrics.json", trained / "outputs/demo/evaluation/metrics.json")
    )
    assert pooled["mean_dice"] == pytest.approx(whole["mean_dice"], abs=1e-4)
    assert {name: task["num_cases"] for name, task in pooled["tasks"].items()} == {
        name: task["num_cases"] for name, task in whole["tasks"].items()
    }
    refused = run(
        "evaluate", f"pool=[{tmp_path / 'fold0'},{tmp_path / 'fold0'}]", f"output={tmp_path / 'twice'}", cwd=tmp_path
    )
    assert (refused.returncode, "expected every case in one fold" in refused.stderr) == (2, True)


def test_an_ensemble_in_one_folder_predicts_what_its_members_do(trained, tmp_path):
    scan = next((trained / "outputs/phantoms/phantom_spleen/imagesTr").glob("*_0000.nii.gz"))
    last = trained / "outputs/demo/checkpoints/last.ckpt"
    succeed("export", f"checkpoint=[{last},{last}]", f"output={tmp_path / 'both'}", cwd=tmp_path)
    maps = []
    for name, checkpoint in (("folder", tmp_path / "both"), ("single", last)):
        done = succeed(
            "predict",
            f"checkpoint={checkpoint}",
            f"input={scan}",
            f"output={tmp_path / name}",
            "inference.device=cpu",
            cwd=tmp_path,
        )
        assert "CT (values from" in done.stderr, "what the scan was taken for is logged"
        assert "does not fit: phantom_whole_body_tumour (CT+PET)" in done.stderr
        maps.append(
            {
                path.relative_to(tmp_path / name): np.asarray(nib.load(path).dataobj)
                for path in (tmp_path / name).rglob("*.nii.gz")
            }
        )
    assert len(maps[0]) == 2
    for path, label in maps[1].items():
        assert np.mean(maps[0][path] == label) > 0.9999
