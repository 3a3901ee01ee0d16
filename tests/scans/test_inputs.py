"""Scans to predict: which files or folders make up a case."""

import numpy as np
import pytest

from samples import save_nifti
from scan_files import save_itk, save_series
from uniseg.errors import InputError
from uniseg.scans.inputs import find_inputs

ARRAY = np.arange(24).reshape(2, 3, 4)
AFFINE = np.diag([-1.0, -1, 1, 1])


def found(given):
    return {case.case_id: [path.name for path in case.image_paths] for case in find_inputs(given)}


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
    with pytest.raises(InputError, match=r"b\.mha: found no such file"):
        find_inputs(str(tmp_path / "b.mha"))
    save_nifti(tmp_path / "c_0000.nii.gz", ARRAY.astype(np.int16))
    save_nifti(tmp_path / "c_0002.nii.gz", ARRAY.astype(np.int16))
    with pytest.raises(InputError, match=r"c_0000\.nii\.gz: found channels \[0, 2\]"):
        find_inputs(str(tmp_path))
