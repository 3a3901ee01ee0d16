"""nnU-Net's layout with what it may leave out."""

import json

import pytest

from uniseg.datasets.case import find_cases
from uniseg.datasets.source import Source
from uniseg.errors import InputError


def dataset(root, channels, *files, **more):
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(
        json.dumps({"channel_names": {str(k): name for k, name in enumerate(channels)}, "numTraining": 99} | more)
    )
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def cases(root, modalities=("CT",), optional=(), **fields):
    return find_cases(Source(layout="nnunet", root=root, **fields), modalities, optional)


def test_labelled_test_cases_are_for_test_whatever_num_training_says(tmp_path):
    files = [
        "imagesTr/a_0000.NII.GZ",
        "labelsTr/a.NII",
        "imagesTs/b_0000.nii",
        "labelsTs/b.nii",
        "imagesTs/c_0000.nii.gz",
    ]
    found = cases(dataset(tmp_path, ["CT"], *files))
    assert [(case.case_id, case.split) for case in found] == [("a", None), ("b", "test")]
    assert found[1].image_paths == (tmp_path / "imagesTs/b_0000.nii",)


def test_images_without_a_label_count_where_the_target_is_absent(tmp_path):
    root = dataset(
        tmp_path,
        ["CT"],
        "imagesTr/a_0000.nii.gz",
        "labelsTr/a.nii.gz",
        "imagesTr/b_0000.nii.gz",
        "imagesTr/whole_003.nii.gz",
    )
    assert [case.case_id for case in cases(root)] == ["a"]
    found = cases(root, absent=["b", "whole_003"])
    assert [(case.case_id, case.label_path, case.absent) for case in found[1:]] == [
        ("b", None, True),
        ("whole_003", None, True),
    ]
    assert [case.image_paths[0].name for case in found[1:]] == ["b_0000.nii.gz", "whole_003.nii.gz"]
    assert not found[0].absent
    with pytest.raises(InputError, match="no image of case 'x'"):
        cases(root, absent=["x"])
    first = cases(root, absent=["a"])[0]
    assert (first.absent, first.label_path) == (True, root / "labelsTr/a.nii.gz")


def test_an_optional_channel_may_be_missing(tmp_path):
    root = dataset(
        tmp_path,
        ["CT", "PET"],
        "imagesTr/a_0000.nii.gz",
        "labelsTr/a.nii.gz",
        "imagesTr/b_0000.nii.gz",
        "imagesTr/b_0001.nii.gz",
        "labelsTr/b.nii.gz",
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
    files = [
        f"{kind}{part}/a{end}.nii.gz" for part in ("Tr", "Ts") for kind, end in (("images", "_0000"), ("labels", ""))
    ]
    with pytest.raises(InputError, match=r"labelsTs/a\.nii\.gz: found case 'a' 2 times"):
        cases(dataset(tmp_path, ["CT"], *files))


@pytest.mark.parametrize("channels", [["CT"], None, {"CT": 0}])
def test_channels_that_are_no_mapping(tmp_path, channels):
    with pytest.raises(InputError, match="a mapping from channel number to name"):
        cases(dataset(tmp_path, [], channel_names=channels))


def test_a_case_number_of_four_digits_is_no_channel(tmp_path):
    labelled = [f"{kind}Tr/amos_000{k}.nii.gz" for k in (1, 4) for kind in ("images", "labels")]
    root = dataset(tmp_path, ["CT"], *labelled, "imagesTr/amos_0600.nii.gz", "imagesTr/amos_0700_0000.nii.gz")
    found = {case.case_id: case.image_paths[0].name for case in cases(root, absent=["amos_0600", "amos_0700"])}
    assert found == {
        "amos_0001": "amos_0001.nii.gz",
        "amos_0004": "amos_0004.nii.gz",
        "amos_0600": "amos_0600.nii.gz",
        "amos_0700": "amos_0700_0000.nii.gz",
    }
    with pytest.raises(InputError, match="no image of case 'amos'"):
        cases(root, absent=["amos"])


def test_a_label_may_end_like_a_channel(tmp_path):
    files = [f"{name}.nii.gz" for k in range(3) for name in (f"imagesTr/scan_000{k}_0000", f"labelsTr/scan_000{k}")]
    found = cases(dataset(tmp_path, ["CT"], *files))
    assert [(case.case_id, case.image_paths[0].name) for case in found] == [
        (f"scan_000{k}", f"scan_000{k}_0000.nii.gz") for k in range(3)
    ]


def test_an_absent_case_may_lack_an_optional_channel(tmp_path):
    files = ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b_0000.nii.gz"]
    root = dataset(tmp_path, ["CT", "PET"], *files)
    found = cases(root, ("CT", "PET"), ("PET",), absent=["b"])
    assert found[1].image_paths == (root / "imagesTr/b_0000.nii.gz", None)


def test_what_systems_leave_beside_scans_is_passed_over(tmp_path):
    root = dataset(
        tmp_path,
        ["CT"],
        "imagesTr/a_0000.nii.gz",
        "imagesTr/._a_0000.nii.gz",
        "labelsTr/a.nii.gz",
        "labelsTr/._a.nii.gz",
        "labelsTr/Thumbs.db",
    )
    assert [case.case_id for case in cases(root)] == ["a"]


@pytest.mark.parametrize("name", ["../../x", "/abs", "..", "a\0b", "x" * 300, ".hidden", "task.json", ""])
def test_a_listed_name_that_leads_elsewhere_is_refused(tmp_path, name):
    listed = {name: {"images": ["1.nii.gz"], "label": "1.nii.gz"}}
    with pytest.raises(InputError, match=r"dataset\.json: found case .*rename the case"):
        cases(dataset(tmp_path, ["CT"], "1.nii.gz", dataset=listed))


def test_a_stray_comma_is_reported_with_its_place(tmp_path):
    (tmp_path / "dataset.json").write_text('{\n "channel_names": {"0": "CT"},\n}')
    with pytest.raises(InputError, match=r"dataset\.json: found no JSON \(.*line [23] column"):
        cases(tmp_path)
