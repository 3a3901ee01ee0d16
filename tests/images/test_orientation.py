"""A scan in the orientation of its file, and its labels back."""

import nibabel as nib
import numpy as np
import pytest
from nibabel import orientations as ornt

from samples import make_task, small_model
from uniseg import InferenceSettings, Predictor, TaskSet, Volume, read_volume
from uniseg.images.orientation import turn, turn_back


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SAL"])
def test_a_file_is_seen_as_it_lies_on_the_disk(tmp_path, axes):
    """The array is nnU-Net's: (k, j, i) of the file, with the spacings of its axes."""
    values = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    image = nib.Nifti1Image(values, np.diag([1.5, 2, 3, 1]))
    how = ornt.ornt_transform(ornt.axcodes2ornt("RAS"), ornt.axcodes2ornt(tuple(axes)))
    nib.save(image.as_reoriented(how), tmp_path / "a.nii.gz")
    stored = nib.load(tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.axes == axes
    turned = turn(volume, axes)
    np.testing.assert_array_equal(turned.array[0], np.asarray(stored.dataobj).T)
    assert turned.spacing_mm == tuple(float(mm) for mm in stored.header.get_zooms()[::-1])
    np.testing.assert_allclose(turned.affine[:, [2, 1, 0, 3]], stored.affine, atol=1e-5)
    assert turned.voxel_ml == pytest.approx(volume.voxel_ml)
    np.testing.assert_array_equal(turn_back(turned.array, axes), volume.array)


def test_a_network_may_see_the_file_and_its_labels_lie_as_the_scan():
    """Of a scan that is turned by hand, the labels are those of the scan in that orientation."""
    task = make_task(spacing_mm=(1, 1, 1))
    model = small_model(TaskSet([task]))
    array = np.random.default_rng(0).normal(size=(9, 20, 18)).astype(np.float32) * 300
    turned = Volume.of_array(array[:, :, ::-1].transpose(1, 0, 2), (1, 1, 1))
    settings = {"device": "cpu", "windows": "nnunet"}
    plain = Predictor(model, InferenceSettings(**settings)).predict(turned, ["liver"])["liver"]
    volume = Volume.of_array(array, (1, 1, 1))
    seen = Volume(volume.array, volume.spacing_mm, volume.affine, axes="RSP")
    predictor = Predictor(model, InferenceSettings(**settings, orientation="file"))
    labels = predictor.predict(seen, ["liver"])["liver"]
    np.testing.assert_array_equal(labels.transpose(1, 0, 2)[:, :, ::-1], plain)
    assert len(np.unique(plain)) > 1
    assert predictor.recorded_settings["orientation"] == "file"
    assert "orientation" not in Predictor(model, InferenceSettings(device="cpu")).recorded_settings
