"""nnU-Net's layout with what it may leave out."""

import json

import pytest

from uniseg.errors import InputError
from uniseg.scans.source import Source, find_cases


def dataset(root, channels, *files, **more):
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps({"channel_names": {str(k): name for k, name in enumerate(channels)}, "numTraining": 99} | more))
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def cases(root, modalities=("CT",), optional=(), **fields):
    return find_cases(Source(layout="nnunet", root=root, **fields), modalities, optional)


def test_labelled_test_cases_are_for_test_whatever_num_training_says(tmp_path):
    files = ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b_0000.nii", "labelsTs/b.nii", "imagesTs/c_0000.nii.gz"]
    found = cases(dataset(tmp_path, ["CT"], *files))
    assert [(case.case_id, case.side) for case in found] == [("a", None), ("b", "test")]
    assert found[1].image_paths == (tmp_path / "imagesTs/b_0000.nii",)


def test_images_without_a_label_count_where_the_target_is_absent(tmp_path):
    root = dataset(tmp_path, ["CT"], "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b_0000.nii.gz", "imagesTr/whole_003.nii.gz")
    assert [case.case_id for case in cases(root)] == ["a"]
    found = cases(root, absent=["b", "whole_003"])
    assert [(case.case_id, case.label_path, case.absent) for case in found[1:]] == [("b", None, True), ("whole_003", None, True)]
    assert [case.image_paths[0].name for case in found[1:]] == ["b_0000.nii.gz", "whole_003.nii.gz"]
    assert not found[0].absent
    with pytest.raises(InputError, match="no image of case 'x'"):
        cases(root, absent=["x"])
    with pytest.raises(InputError, match=r"labelsTr/a\.nii\.gz: found a label; expected none"):
        cases(root, absent=["a"])


def test_an_optional_channel_may_be_missing(tmp_path):
    root = dataset(
        tmp_path, ["CT", "PET"], "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz", "labelsTr/b.nii.gz"
    )
    first, second = cases(root, ("CT", "PET"), ("PET",))
    assert first.image_paths == (root / "imagesTr/a_0000.nii.gz", None)
    assert second.image_paths[1] == root / "imagesTr/b_0001.nii.gz"
    with pytest.raises(InputError, match=r"a_0001\.nii\.gz: found no such file"):
        cases(root, ("CT", "PET"), ("CT",))


def test_a_whole_file_holds_all_modalities(tmp_path):
    root = dataset(tmp_path, ["T1", "T2"], "imagesTr/a_0001.nii.gz", "labelsTr/a_0001.nii.gz")
    assert cases(root, ("T1", "T2"), ("T2",))[0].image_paths == (root / "imagesTr/a_0001.nii.gz",)


def test_files_listed_in_the_description(tmp_path, monkeypatch):
    monkeypatch.setenv("SCANS", str(tmp_path / "scans"))
    listed = {"a": {"images": ["${SCANS}/1.nii.gz"], "label": "own/1.nii.gz"}}
    root = dataset(tmp_path / "set", ["CT"], "../scans/1.nii.gz", "own/1.nii.gz", dataset=listed)
    (case,) = cases(root)
    assert (case.image_paths, case.label_path) == ((tmp_path / "scans/1.nii.gz",), root / "own/1.nii.gz")
    with pytest.raises(InputError, match=r"dataset\.json: found case 'b': .*images, a list, with label"):
        cases(dataset(tmp_path / "set", ["CT"], dataset={"b": {"images": ["x"]}}))


def test_one_case_in_both_folders_is_refused(tmp_path):
    files = [f"{kind}{part}/a{end}.nii.gz" for part in ("Tr", "Ts") for kind, end in (("images", "_0000"), ("labels", ""))]
    with pytest.raises(InputError, match=r"labelsTs/a\.nii\.gz: found case 'a' 2 times"):
        cases(dataset(tmp_path, ["CT"], *files))


@pytest.mark.parametrize("channels", [["CT"], None, {"CT": 0}])
def test_channels_that_are_no_mapping(tmp_path, channels):
    with pytest.raises(InputError, match="a mapping from channel number to name"):
        cases(dataset(tmp_path, [], channel_names=channels))
