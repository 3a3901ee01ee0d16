"""Another tool's folds: which folders are taken, which of their cases; what a cross-validation was begun with."""

from pathlib import Path

import numpy as np
import pytest

from samples import make_task, save_nifti
from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset
from uniseg.datasets.source import Source
from uniseg.datasets.splits import SplitTable
from uniseg.errors import InputError
from uniseg.evaluation.crossval import CrossvalRecord, CrossvalSettings, begin
from uniseg.evaluation.other_folds import other_folders, score_other_folds, validation_maps
from uniseg.evaluation.records import read_scores
from uniseg.evaluation.scoring import Scorer, ScoringRules
from uniseg.run_folder import CrossvalFolder, EvaluationFolder

SCORER = Scorer(ScoringRules(surfaces=False, lesions=False))
CASES = ("a", "b", "c", "d")
NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"


def organ(width=4, value=1):
    label = np.zeros((6, 8, 8), np.uint8)
    label[2:4, 2:6, :width] = value
    return label


@pytest.fixture
def dataset(tmp_path):
    """Four cases in two folds; the label files call the organ 7."""
    cases = {}
    for name in CASES:
        label = save_nifti(tmp_path / f"labels/{name}.nii.gz", organ(value=7))
        cases[name] = Case(name, f"set/{name}", (label,), label)
    table = SplitTable((), (CASES[:2], CASES[2:]), (), {name: f"set/{name}" for name in CASES})
    task = make_task(classes=("background", "liver"))
    return Dataset(task, Source("nnunet", tmp_path, label_map={7: 1}), cases, table)


def nnunet(folder, value=7, folds=((0, "a"), (0, "b"), (1, "c")), width=4):
    for fold, case_id in folds:
        save_nifti(folder / f"fold_{fold}/validation/{case_id}.nii.gz", organ(width, value))
    return folder


def test_their_maps_hold_the_values_of_the_label_files(dataset, tmp_path):
    results = tmp_path / "results/Dataset001_Liver"
    nnunet(results / NAME, width=2)
    save_nifti(results / NAME / "fold_all/validation/d.nii.gz", organ())
    save_nifti(results / NAME / "fold_1/validation/test_case.nii.gz", organ())
    output = EvaluationFolder(tmp_path / "out")
    folders = other_folders(str(results), ["liver"])
    found = score_other_folds(folders, [dataset], SCORER, output, None)
    assert [(s.case_id, s.patient_id) for s in read_scores(output.scores)] == [(n, f"set/{n}") for n in "abc"]
    assert found.summary.mean_dice == pytest.approx(2 * 16 / (16 + 32))
    assert found.notes == [
        "liver: 1 of their cases are in none of our folds; they trained on them",
        "1 of our cases are not among theirs, and are left out of the comparison",
    ]
    again = score_other_folds(other_folders([str(output.path)], ["liver"]), [dataset], SCORER, output, None)
    assert again.summary.mean_dice == pytest.approx(found.summary.mean_dice, abs=1e-5), "a folder that was scored"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("nowhere", r"nowhere: found no such folder; expected nnU-Net's results"),
        ([], r"nnunet_folds: found \[\]; expected a folder, a list"),
        (3, r"nnunet_folds: found 3; expected a folder"),
        ({"nose": "folder"}, r"nnunet_folds: found task 'nose'; expected one of liver, spleen"),
        ("folder", r"label maps of one of 2 tasks; expected to know of which; give nnunet_folds=\{liver:<folder>\}"),
    ],
)
def test_what_is_no_folder_of_folds(tmp_path, monkeypatch, given, line):
    monkeypatch.chdir(tmp_path)
    nnunet(Path("folder"))
    with pytest.raises(InputError, match=line):
        other_folders(given, ["liver", "spleen"])
    assert other_folders({"spleen": "folder"}, ["liver", "spleen"]) == [("spleen", Path("folder"))]


def test_which_label_maps_are_out_of_fold(tmp_path):
    with pytest.raises(InputError, match="no trained configuration"):
        validation_maps(tmp_path)
    (tmp_path / NAME / "fold_0").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no validation label maps; expected fold_0/validation"):
        validation_maps(tmp_path)
    folder = nnunet(tmp_path / NAME)
    assert {name: fold for name, (fold, _) in validation_maps(tmp_path).items()} == {
        "a": "fold_0",
        "b": "fold_0",
        "c": "fold_1",
    }
    nnunet(folder, folds=[(1, "a")])
    with pytest.raises(InputError, match="case 'a' in two folds"):
        validation_maps(folder)
    (tmp_path / "nnUNetTrainer__nnUNetPlans__2d").mkdir()
    with pytest.raises(InputError, match=r"2 configurations \(nnUNetTrainer__nnUNetPlans__2d, "):
        validation_maps(tmp_path)


def test_cases_of_another_dataset_are_refused(dataset, tmp_path):
    folders = [(None, nnunet(tmp_path / "theirs", folds=[(0, "x")]))]
    with pytest.raises(InputError, match="found none of the cases of our folds"):
        score_other_folds(folders, [dataset], SCORER, EvaluationFolder(tmp_path / "out"), None)


def test_a_folder_keeps_what_it_was_begun_with(tmp_path):
    folder = CrossvalFolder(tmp_path)
    record = CrossvalRecord("demo", 5, {"seed": 0, "data.batch_size": 2, "cases of liver": "12 (ab)"}, "1")
    begin(folder, record)
    begin(folder, record)
    for settings, version, line in (
        ({"seed": 1}, "1", "found seed 1; expected 0, with which it was begun"),
        ({"cases of liver": "11 (cd)"}, "1", r"found cases of liver 11 \(cd\); expected 12 \(ab\)"),
        ({"trainer.max_steps": 5}, "1", "found trainer.max_steps 5; expected None"),
        ({"trainer.max_steps": 5, "data.batch_size": 4}, "2", "found data.batch_size 4; expected 2"),
    ):
        with pytest.raises(InputError, match=line):
            begin(folder, CrossvalRecord("demo", 5, {**record.settings, **settings}, version))
    begin(folder, CrossvalRecord("demo", 5, {**record.settings, "new": 5}, "2"))  # a key of a later version
    folder.record.write_text('{"kind": "x"}')
    with pytest.raises(InputError, match=r"crossval\.json of uniseg\.crossval"):
        begin(folder, record)


def test_settings_of_a_cross_validation():
    with pytest.raises(InputError, match=r"folds"):
        CrossvalSettings(folds=(1, 1))
    with pytest.raises(InputError, match=r"parallel"):
        CrossvalSettings(parallel=0)
