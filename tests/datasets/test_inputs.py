"""Scans to predict: which files or folders make up a case."""

import numpy as np
import pytest

from samples import save_nifti
from scan_files import save_itk, save_series
from uniseg.datasets.inputs import find_images, find_inputs, passed_over, require_inputs
from uniseg.errors import InputError

ARRAY = np.arange(24).reshape(2, 3, 4)
AFFINE = np.diag([-1.0, -1, 1, 1])


def found(given, num_channels=None):
    return {case.case_id: [path.name for path in case.image_paths] for case in find_inputs(given, num_channels)}


def test_a_dicom_folder_is_one_case(tmp_path):
    folder = save_series(tmp_path / "visit_0001", ARRAY, AFFINE)
    assert found(str(folder)) == {"visit_0001": ["visit_0001"]}


def test_a_folder_of_series_is_a_case_each(tmp_path):
    for name in ("patient_0000", "patient_0001"):
        save_series(tmp_path / name, ARRAY, AFFINE)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("nothing to see")
    assert found(str(tmp_path)) == {name: [name] for name in ("patient_0000", "patient_0001")}


def test_formats_may_mix(tmp_path):
    save_series(tmp_path / "a", ARRAY, AFFINE)
    save_nifti(tmp_path / "b_0000.nii.gz", ARRAY.astype(np.int16))
    save_itk(tmp_path / "b_0001.mhd", ARRAY.astype(np.int16), AFFINE)
    save_itk(tmp_path / "c.nrrd", ARRAY.astype(np.int16), AFFINE)
    assert found(str(tmp_path)) == {"a": ["a"], "b": ["b_0000.nii.gz", "b_0001.mhd"], "c": ["c.nrrd"]}
    both = [str(tmp_path / "a"), str(tmp_path / "c.nrrd")]
    assert found(both) == {"a": ["a", "c.nrrd"]}


def test_two_images_of_one_name_are_refused(tmp_path):
    save_series(tmp_path / "a", ARRAY, AFFINE)
    save_itk(tmp_path / "a.nrrd", ARRAY.astype(np.int16), AFFINE)
    with pytest.raises(InputError, match=r"a\.nrrd: found a second image named 'a' beside a"):
        find_inputs(str(tmp_path))


def test_what_is_no_scan_is_refused(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("nothing to see")
    with pytest.raises(InputError, match=r"notes: found no image"):
        find_inputs(str(tmp_path / "notes"))
    with pytest.raises(InputError, match=r"readme\.txt: found neither an image file nor a DICOM series"):
        find_inputs(str(tmp_path / "notes" / "readme.txt"))
    (tmp_path / "study.ZIP").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"study\.ZIP: found neither .*; unpack it and give the folder"):
        find_inputs(str(tmp_path / "study.ZIP"))
    with pytest.raises(InputError, match=r"b\.mha: found no such file"):
        find_inputs(str(tmp_path / "b.mha"))
    with pytest.raises(InputError, match="an empty list"):
        find_inputs([])


def numbered(folder, *names):
    for name in names:
        save_nifti(folder / f"{name}.nii.gz", ARRAY.astype(np.int16))
    return folder


def test_as_many_channels_as_are_wanted(tmp_path):
    folder = numbered(tmp_path, "a_0000", "a_0001", "b_0000", "b_0002")
    files = {name: [f"{name}.nii.gz"] for name in ("a_0000", "a_0001", "b_0000", "b_0002")}
    assert found(folder, {2}) == {
        "a": ["a_0000.nii.gz", "a_0001.nii.gz"],
        **{name: files[name] for name in ("b_0000", "b_0002")},
    }
    assert found(folder, {1}) == files
    assert found(folder, {1, 4}) == files
    with pytest.raises(
        InputError, match=r"a_0000\.nii\.gz to a_0001\.nii\.gz, which may be 2 scans or the 2 channels of one.*modality"
    ):
        find_inputs(folder, {1, 2})


def test_at_a_glance_something_has_to_be_there(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/readme.txt").write_text("nothing to see")
    scan = save_nifti(tmp_path / "scan.nii.gz", ARRAY.astype(np.int16))
    series = save_series(tmp_path / "series", ARRAY, AFFINE)
    for given in (tmp_path, scan, series, [str(scan), str(series)]):
        require_inputs(given)
    with pytest.raises(InputError, match=r"scan2\.nii\.gz: found no such file"):
        require_inputs([scan, tmp_path / "scan2.nii.gz"])
    with pytest.raises(InputError, match=r"notes: found no image \(readme\.txt\)"):
        require_inputs(tmp_path / "notes")


def test_one_file_with_a_number(tmp_path):
    folder = numbered(tmp_path, "amos_0001", "amos_0000", "brain_0000")
    assert found(folder / "amos_0001.nii.gz", {1}) == {"amos_0001": ["amos_0001.nii.gz"]}
    assert found(str(folder / "brain_0000.nii.gz"), {1}) == {"brain": ["brain_0000.nii.gz"]}
    assert found(folder, {1}) == {
        "amos_0000": ["amos_0000.nii.gz"],
        "amos_0001": ["amos_0001.nii.gz"],
        "brain": ["brain_0000.nii.gz"],
    }
    assert found([folder / "amos_0000.nii.gz", folder / "amos_0001.nii.gz"]) == {
        "amos": ["amos_0000.nii.gz", "amos_0001.nii.gz"]
    }
    assert found([folder / "amos_0001.nii.gz", folder / "brain_0000.nii.gz"]) == {
        "amos_0001": ["amos_0001.nii.gz", "brain_0000.nii.gz"]
    }


def test_label_maps_are_never_grouped(tmp_path):
    folder = numbered(tmp_path, "a_0000", "a_0001")
    assert list(find_images(folder)) == ["a_0000", "a_0001"]


def test_what_is_no_image_is_passed_over(tmp_path):
    numbered(tmp_path, "a", "1.2.840")
    for name in ("a.json", "1.2.840.json", "notes.txt", ".hidden", "dataset.json"):
        (tmp_path / name).write_text("")
    assert passed_over(tmp_path) == ["dataset.json", "notes.txt"]
    assert passed_over(tmp_path / "a.nii.gz") == passed_over([tmp_path / "a.nii.gz"]) == []
