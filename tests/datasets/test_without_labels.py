"""Scans without labels: a bare folder, the images of labelled sets."""

import json

import numpy as np
import pytest

from samples import make_task, save_nifti
from uniseg.datasets.case import find_cases
from uniseg.datasets.dataset import find_dataset
from uniseg.datasets.labels import load_case
from uniseg.datasets.source import Source
from uniseg.errors import InputError
from uniseg.normalization.fingerprint import Fingerprint
from uniseg.preprocessing.fingerprint import measure, resolve

MAE = {"kind": "pretext", "objective": "mae"}


def scans(folder, *names):
    for number, name in enumerate(names):
        save_nifti(folder / f"{name}.nii.gz", np.random.default_rng(number).normal(size=(6, 8, 8)).astype(np.float32))
    return folder


def test_a_bare_folder_of_images(tmp_path):
    scans(tmp_path / "scans", "b", "a", "c_0000")
    cases = find_cases(Source("images", tmp_path / "scans"), ("CT",), labelled=False)
    assert [(case.case_id, case.label_path) for case in cases] == [("a", None), ("b", None), ("c", None)]
    with pytest.raises(InputError, match="no labelled case"):
        find_cases(Source("images", tmp_path / "scans"), ("CT",))


def test_channels_of_a_bare_folder(tmp_path):
    scans(tmp_path / "scans", "a_0000", "a_0001", "b_0000", "b_0001")
    cases = find_cases(Source("images", tmp_path / "scans"), ("CT", "PET"), labelled=False)
    assert [(case.case_id, [path.name for path in case.image_paths]) for case in cases] == [
        (name, [f"{name}_0000.nii.gz", f"{name}_0001.nii.gz"]) for name in "ab"
    ]


def test_the_images_of_a_labelled_set_each_once(tmp_path):
    root = tmp_path / "set"
    names = [f"case{number}" for number in range(9)]
    scans(root / "imagesTr", *(f"{name}_0000" for name in names), "unlabelled_0000")
    scans(root / "labelsTr", *names)
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(content | {"numTraining": 9}))
    task, source = make_task(classes=("CT",), **MAE), Source("nnunet", root)
    cases = find_cases(source, ("CT",), labelled=False)
    assert [case.case_id for case in cases] == [*names, "unlabelled"]
    assert all(case.label_path is None for case in cases)
    labelled = find_dataset(make_task(classes=("background", "liver")), source)
    unlabelled = find_dataset(task, source)
    shared = labelled.splits.patients.keys()
    for fold in range(5):
        one, two = labelled.splits.fold("liver", fold), unlabelled.splits.fold("liver", fold)
        assert set(one.test) <= set(two.test)
    assert shared < unlabelled.splits.patients.keys()


def test_the_label_is_zero_and_intensities_are_those_of_the_body(tmp_path):
    scans(tmp_path / "scans", *"abcdefghi")
    source = Source("images", tmp_path / "scans")
    task = make_task(modalities=("MR",), classes=("MR",), **MAE)
    dataset = find_dataset(task, source)
    volume, label = load_case(task, source, dataset.cases["a"])
    assert label.shape == volume.array.shape[1:]
    assert not label.any()
    open_task = task.resolve([Fingerprint()])
    (how,) = resolve(open_task, [measure(volume, label, open_task)]).normalization
    assert how.resolved
    assert abs(how.mean - volume.array.mean()) < 0.3
