"""Nothing that is not ours is replaced."""

import json
import os
import shutil

import numpy as np
import pytest

from samples import make_task, save_nifti, small_model
from uniseg import InputError, Predictor, TaskSet, predict_files
from uniseg.inference.outputs import is_predicted_probabilities, read_prediction_json
from uniseg.inference.settings import InferenceSettings

TASK = make_task("spleen", classes=("background", "spleen"), spacing_mm=(3, 1.5, 1.5))


@pytest.fixture
def predictor():
    return Predictor(small_model(TaskSet([TASK])))


@pytest.fixture
def folder(tmp_path):
    """Scans in a folder that is called as the task is."""
    for k in range(2):
        save_nifti(
            tmp_path / f"spleen/case{k}.nii.gz", np.random.default_rng(k).normal(40, 150, (12, 20, 20)).astype(np.int16)
        )
        (tmp_path / f"spleen/case{k}.json").write_text('{"EchoTime": 1}')
    return tmp_path / "spleen"


def contents(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("choices", [{}, {"merge": True}, {"probabilities": True}])
def test_a_scan_is_never_replaced(predictor, folder, choices):
    where = folder.rename(folder.with_name("merged")) if choices.get("merge") else folder
    before = contents(folder.parent)
    with pytest.raises(
        InputError, match=r"case0\.nii\.gz: found a scan that is to be read, where a prediction would go; .*output="
    ):
        predict_files(predictor, where, folder.parent, modality=["CT"], **choices)
    assert contents(folder.parent) == before


def test_nor_under_another_name_of_its_folder(predictor, folder, tmp_path):
    os.symlink(folder.parent, tmp_path / "link")
    for given in (folder / "case1.nii.gz", tmp_path / "link/spleen"):
        with pytest.raises(InputError, match="a scan that is to be read"):
            predict_files(predictor, given, tmp_path / "link", tasks="spleen")


def test_nor_one_of_another_case_of_the_call(predictor, folder, tmp_path):
    """The good case is not begun."""
    save_nifti(tmp_path / "scans/case0.nii.gz", np.zeros((4, 4, 4), np.int16))
    save_nifti(tmp_path / "scans/new.nii.gz", np.zeros((4, 4, 4), np.int16))
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"case0\.nii\.gz: found something that uniseg did not write"):
        predict_files(predictor, tmp_path / "scans", tmp_path, tasks="spleen")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["case0.nii.gz", "case0.json", "case0_probabilities.nii.gz"])
@pytest.mark.parametrize("beside", [None, "{}", "", '{"checkpoint": "a"', "[1]", '{"Manufacturer": "x"}'])
def test_what_is_not_ours_stays(predictor, folder, tmp_path, name, beside):
    path = tmp_path / "out/spleen" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"somebody's")
    if beside is not None:
        (path.parent / "case0.json").write_text(beside)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="that uniseg did not write, where a prediction would go"):
        predict_files(predictor, folder, tmp_path / "out", tasks="spleen", probabilities=True)
    assert contents(tmp_path) == before


def test_what_is_ours_is_made_again(predictor, folder, tmp_path):
    (path, _) = predict_files(predictor, folder, tmp_path / "out", tasks="spleen", probabilities=True)
    beside = path.with_name("case0.json")
    record, label = json.loads(beside.read_text()), path.read_bytes()
    assert record["stamps"] == [
        {"bytes": os.path.getsize(folder / "case0.nii.gz"), "mtime_ns": os.stat(folder / "case0.nii.gz").st_mtime_ns}
    ]
    for spoilt in (
        {"checkpoint": "", "uniseg": "0"},
        {key: value for key, value in record.items() if key != "stamps"},
        record | {"settings": 3},
    ):
        beside.write_text(json.dumps(spoilt))
        path.write_bytes(b"")
        predict_files(predictor, folder, tmp_path / "out", tasks="spleen", probabilities=True)
        assert path.read_bytes() == label
        assert json.loads(beside.read_text()) == record


def test_merged_tables_of_others_stay(predictor, folder, tmp_path):
    merged = tmp_path / "out/merged"
    predict_files(predictor, folder, tmp_path / "out", modality=["CT"], merge=True)
    assert sorted(path.name for path in merged.iterdir()) == [
        "case0.json", "case0.nii.gz", "case1.json", "case1.nii.gz", "labels.ctbl", "labels_itksnap.txt",
    ]  # fmt: skip
    predict_files(
        Predictor(predictor.model, InferenceSettings(overlap=0.25)),
        folder,
        tmp_path / "out",
        modality=["CT"],
        merge=True,
    )
    (merged / "labels.ctbl").write_text("# Color table file /home/me/colours.ctbl\n")
    with pytest.raises(InputError, match=r"labels\.ctbl: found something that uniseg did not write"):
        predict_files(predictor, folder, tmp_path / "out", modality=["CT"], merge=True)


def test_two_scans_whose_predictions_have_one_name(predictor, folder, tmp_path):
    shutil.copy(folder / "case0.nii.gz", folder / "case1_probabilities.nii.gz")
    with pytest.raises(InputError, match=r"case1_probabilities\.nii\.gz: found two scans"):
        predict_files(predictor, folder, tmp_path / "out", tasks="spleen", probabilities=True)


@pytest.mark.parametrize("place", ["file", "file/below", "spleen/case0.nii.gz"])
def test_an_output_that_is_a_file(predictor, folder, tmp_path, place):
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match=r"(file|case0\.nii\.gz): found a file; expected a folder for the predictions"):
        predict_files(predictor, folder, tmp_path / place, tasks="spleen")


def test_what_our_json_says(tmp_path):
    path = tmp_path / "a.json"
    assert read_prediction_json(path) is None
    for text in ("", "null", "[]", '{"task": "a"}', "[" * 100000, "\xff"):
        path.write_bytes(text.encode("latin1"))
        assert read_prediction_json(path) is None
    path.write_text('{"checkpoint": "", "uniseg": "1", "task": "a"}')
    assert read_prediction_json(path)["task"] == "a"
    assert is_predicted_probabilities(tmp_path / "a_probabilities.nii.gz")
    assert not is_predicted_probabilities(tmp_path / "b_probabilities.nii.gz")
    assert not is_predicted_probabilities(tmp_path / "a.nii.gz")
