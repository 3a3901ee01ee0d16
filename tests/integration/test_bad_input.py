"""Bad input: one clear line, exit code 2, nothing half-written."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from samples import save_nifti
from started import TINY, run

DATASET = "phantom_spleen"
PREPARE = [f"task=[{DATASET}]", "num_workers=1"]


@pytest.fixture
def suite(prepared, tmp_path):
    """A copy of one dataset that a test may spoil; returns (folder to start in, dataset folder)."""
    dataset = tmp_path / "outputs/phantoms" / DATASET
    shutil.copytree(prepared / "outputs/phantoms" / DATASET, dataset)
    return tmp_path, dataset


def refused(done, *texts):
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    for text in texts:
        assert text in lines[0]
    assert "Traceback" not in done.stderr


def first(folder):
    return sorted(folder.iterdir())[0]


def test_a_truncated_scan(suite):
    root, dataset = suite
    scan = first(dataset / "imagesTr")
    scan.write_bytes(scan.read_bytes()[:3000])
    done = run("prepare", *PREPARE, cwd=root)
    refused(done, scan.name, "complete NIfTI")
    assert not (root / "outputs/cache" / DATASET / "task.json").exists()


def test_a_label_value_outside_the_classes(suite):
    root, dataset = suite
    label = first(dataset / "labelsTr")
    image = nib.load(label)
    values = np.asarray(image.dataobj).copy()
    values[0, 0, 0] = 9
    nib.save(nib.Nifti1Image(values, image.affine), label)
    refused(run("prepare", *PREPARE, cwd=root), label.name, "label values [9]", "values [0, 1] for background, spleen")


def test_an_image_with_a_label_of_another_shape(suite):
    root, dataset = suite
    label = first(dataset / "labelsTr")
    image = nib.load(label)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[1:], image.affine), label)
    refused(run("prepare", *PREPARE, cwd=root), label.name, "found shape", "expected")


def test_all_findings_come_in_one_table(suite):
    root, dataset = suite
    for path in sorted((dataset / "imagesTr").iterdir())[:2]:
        path.write_bytes(b"")
    done = run("prepare", *PREPARE, cwd=root)
    refused(done, "2 errors")
    assert "spleen_000" in done.stderr
    assert "spleen_001" in done.stderr


def test_a_missing_channel_file(suite):
    root, dataset = suite
    scan = first(dataset / "imagesTr")
    scan.unlink()
    refused(run("prepare", *PREPARE, cwd=root), scan.name, "no such file")


def test_an_empty_task(suite):
    root, dataset = suite
    for label in (dataset / "labelsTr").iterdir():
        label.unlink()
    refused(run("prepare", *PREPARE, cwd=root), DATASET, "no labelled case")


def test_one_patient_in_two_splits(suite):
    root, _ = suite
    splits = "{train: [spleen_000, spleen_001], val: [spleen_003], test: [spleen_002]}"
    source = f"tasks.{DATASET}.source"
    done = run(
        "prepare",
        *PREPARE,
        f"{source}.splits={splits}",
        f"{source}.patient_pattern='(\\d+)$'",
        f"{source}.cases_per_patient=2",
        cwd=root,
    )
    refused(done, "patient", "in train and in test")


@pytest.mark.parametrize(
    ("command", "override", "text"),
    [
        ("train", "data.patchsize=[8,8,8]", "patchsize"),
        ("train", "task=[phantom_livr]", "phantom_livr"),
        ("train", "augment.p_rotatoin=1", "p_rotatoin"),
        ("train", "ckpt_path=nowhere.ckpt", "nowhere.ckpt"),
        ("train", "trainer=null", "expected one of ddp, default"),
        ("train", "data.batch_size=0", "data.batch_size: found 0; expected a whole number of at least 1"),
        ("prepare", "num_workers=0", "num_workers: found 0"),
        ("evaluate", "pool=[]", "pool: found []"),
    ],
)
def test_a_misspelt_word(prepared, command, override, text):
    refused(run(command, "experiment=demo", *TINY, override, cwd=prepared), text)


def test_a_task_that_was_not_prepared(suite):
    root, _ = suite
    refused(
        run("train", "experiment=demo", f"task=[{DATASET}]", cwd=root), "task.json", "run uniseg prepare with the same"
    )


def test_a_checkpoint_of_something_else(prepared, tmp_path):
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.ckpt")
    scan = first(prepared / "outputs/phantoms" / DATASET / "imagesTr")
    for checkpoint in (tmp_path / "other.ckpt", scan):
        done = run(
            "predict",
            f"checkpoint={checkpoint}",
            f"input={scan}",
            f"output={tmp_path / 'out'}",
            "modality=[CT]",
            cwd=tmp_path,
        )
        refused(done, checkpoint.name, "a checkpoint of uniseg.train")


def test_a_wrong_input_is_told_before_the_network_is_loaded(tmp_path):
    done = run("predict", "checkpoint=large.ckpt", "input=scna.nii.gz", "output=out", cwd=tmp_path)
    refused(done, "scna.nii.gz: found no such file")


def test_predict_says_what_fits(trained, tmp_path):
    checkpoint = f"checkpoint={trained / 'outputs/demo/checkpoints/last.ckpt'}"
    scan = save_nifti(tmp_path / "scan.nii.gz", np.random.default_rng(0).normal(size=(20, 40, 40)).astype(np.float32))
    common = [checkpoint, f"input={scan}", f"output={tmp_path / 'out'}", "inference.device=cpu"]
    refused(run("predict", *common, "modality=[MR]", cwd=tmp_path), "MR", "CT, CT+PET")
    refused(
        run("predict", *common, cwd=tmp_path), "scan.nii.gz", "neither as CT, nor as MR, nor as PET", "modality=[CT]"
    )
    refused(run("predict", *common, "tasks=[liver]", cwd=tmp_path), "'liver'", "phantom_liver")
    refused(run("predict", *common, "tasks=[phantom_whole_body_tumour]", cwd=tmp_path), "1 channels", "CT, PET")
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_evaluate_wants_the_same_cases(prepared, tmp_path):
    labels = prepared / "outputs/phantoms" / DATASET / "labelsTr"
    shutil.copytree(labels, tmp_path / "predictions")
    gone = first(tmp_path / "predictions")
    gone.unlink()
    done = run(
        "evaluate",
        f"predictions={tmp_path / 'predictions'}",
        f"labels={labels}",
        f"task=[{DATASET}]",
        f"output={tmp_path / 'out'}",
        cwd=tmp_path,
    )
    refused(done, gone.name.split(".")[0], "1 missing")


def test_a_wrong_number_of_channels(suite):
    root, dataset = suite
    description = json.loads((dataset / "dataset.json").read_text())
    description["channel_names"] = {"0": "CT", "1": "PET"}
    (dataset / "dataset.json").write_text(json.dumps(description))
    refused(run("prepare", *PREPARE, cwd=root), "dataset.json", "2 channels")


def test_a_network_that_saw_the_test_cases_is_not_evaluated(trained):
    splits = json.loads((trained / "outputs/cache" / DATASET / "splits.json").read_text())
    seen, others = splits["folds"][1], [case for k, fold in enumerate(splits["folds"]) if k != 1 for case in fold]
    given = f"+tasks.{DATASET}.source.splits={{train:[{','.join(others)}],test:[{','.join(seen)}]}}"
    done = run("evaluate", "experiment=demo", *TINY, f"task=[{DATASET}]", given, "output=seen", cwd=trained)
    refused(
        done,
        "outputs/demo/checkpoints/last.ckpt",
        f"test case '{seen[0]}' of '{DATASET}' in its train split",
        "split of its training",
    )
    assert not (trained / "seen/predictions").exists()
