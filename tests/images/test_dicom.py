"""DICOM series: geometry, rescaling, what is refused."""

import os
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless, RTStructureSetStorage, SegmentationStorage
from scipy.spatial.transform import Rotation

from samples import save_nifti
from scan_files import dicom_slice, save_series, save_slices
from uniseg.errors import InputError
from uniseg.images.dicom import choose_series, is_series
from uniseg.images.files import case_id_of, read_geometry, read_label, read_volume

AFFINE = np.array([[-1.5, 0, 0, 40], [0, -2.0, 0, 30], [0, 0, 3.0, -20], [0, 0, 0, 1]])
ARRAY = np.random.default_rng(0).integers(0, 3000, (5, 4, 6))
REAL = Path(os.environ.get("UNISEG_DICOM", Path(__file__).parents[3] / "shared" / "data" / "totalsegmentator_ct"))


def slices(**values):
    return [dicom_slice(plane, AFFINE, index, **values) for index, plane in enumerate(ARRAY)]


def tilted(drift):
    """The affine of slices that drift by voxels (rows, columns)."""
    affine = AFFINE.copy()
    affine[:3, 2] += drift[0] * affine[:3, 1] + drift[1] * affine[:3, 0]
    return affine


def tilted_slices(array, sheared, straight):
    """Slices of the straight affine's axes where the sheared one says."""
    series = [dicom_slice(plane, straight, index) for index, plane in enumerate(array)]
    for index, s in enumerate(series):
        s.ImagePositionPatient = [f"{v:.8g}" for v in (np.diag([-1.0, -1, 1, 1]) @ sheared @ [0, 0, index, 1])[:3]]
    return series


def refused(folder, message):
    with pytest.raises(InputError, match=message) as refusal:
        read_volume([folder])
    assert "\n" not in str(refusal.value)


def test_slices_are_sorted_in_space_with_their_affine(tmp_path):
    folder = save_series(tmp_path / "ct", ARRAY, AFFINE)
    assert is_series(folder)
    assert case_id_of(folder) == "ct"
    volume = read_volume([folder])
    np.testing.assert_array_equal(volume.array[0], ARRAY)
    assert volume.spacing_mm == pytest.approx((3, 2, 1.5))
    np.testing.assert_allclose(volume.affine, AFFINE[:, [2, 1, 0, 3]])
    np.testing.assert_allclose(read_geometry(folder).affine, volume.affine)


@pytest.mark.parametrize("flip", [(1, 1, 1), (1, 1, -1), (-1, 1, 1)])
def test_an_oblique_series_equals_the_nifti_of_its_affine(tmp_path, flip):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([20, -15, 35], degrees=True).as_matrix()
    affine = turn @ AFFINE @ np.diag([*flip, 1.0])
    series, nifti = (
        save_series(tmp_path / "ct", ARRAY, affine),
        save_nifti(tmp_path / "ct.nii.gz", ARRAY.astype(np.int16), affine),
    )
    ours, theirs = read_volume([series]), read_volume([nifti])
    np.testing.assert_array_equal(ours.array, theirs.array)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    assert read_label(nifti, [series]).shape == ours.array.shape[1:]


@pytest.mark.parametrize("drift", [(1.0, 0.0), (-1.0, 0.5), (0.4, 0.0)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_tilted_gantry_is_put_straight_in_the_same_place(tmp_path, drift, turned):
    """A ramp along a direction in space is linear: its values at the grid's voxels follow from their place."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([20, -15, 35], degrees=True).as_matrix() if turned else np.eye(3)
    sheared = turn @ tilted(drift)
    shape, direction = (5, 14, 16), turn[:3, :3] @ [7.0, 11, 3]
    points = np.indices(shape)[::-1].reshape(3, -1).T @ sheared[:3, :3].T + sheared[:3, 3]
    ramp = (points @ direction).reshape(shape)
    low = ramp.min() - 20
    series = tilted_slices(np.rint((ramp - low) * 20), sheared, turn @ AFFINE)
    volume = read_volume([save_slices(tmp_path / "ct", series)])
    axes = volume.affine[:3, :3] / volume.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert volume.spacing_mm == pytest.approx((3, 2, 1.5))
    assert "tilted gantry" in volume.notes[0]
    inside = np.argwhere(np.ones(volume.array.shape[1:], bool))
    place = inside @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    index = (place - sheared[:3, 3]) @ np.linalg.inv(sheared[:3, :3]).T
    held = ((index > -1e-6) & (index < np.array(shape[::-1]) - 1 + 1e-6)).all(axis=1)
    assert held.sum() >= 5 * 13 * 15, "no slice is cut"
    found = volume.array[0].ravel()[held] / 20 + low
    np.testing.assert_allclose(found, place[held] @ direction, atol=0.06)


def test_a_stack_that_leans_like_no_gantry_is_refused(tmp_path):
    sheared = tilted((5.0, 0.0))
    refused(save_slices(tmp_path / "ct", tilted_slices(ARRAY, sheared, AFFINE)), "slices that lie 73 degrees off")


def test_each_slice_has_its_own_rescaling(tmp_path):
    series = [
        dicom_slice(plane, AFFINE, index, slope=0.5 * (index + 1), intercept=-10 * index)
        for index, plane in enumerate(ARRAY)
    ]
    array = read_volume([save_slices(tmp_path / "pt", series)]).array[0]
    np.testing.assert_allclose(array, [plane * 0.5 * (k + 1) - 10 * k for k, plane in enumerate(ARRAY)], rtol=1e-6)


@pytest.mark.parametrize("syntax", [RLELossless, DeflatedExplicitVRLittleEndian])
def test_packed_slices(tmp_path, syntax):
    series = slices(intercept=-1024)
    for dataset in series:
        if syntax == RLELossless:
            dataset.compress(syntax)
        dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read_volume([save_slices(tmp_path / "ct", series)]).array[0], ARRAY - 1024)


def test_one_slice_takes_its_thickness(tmp_path):
    volume = read_volume([save_slices(tmp_path / "ct", slices()[:1])])
    assert volume.spacing_mm == pytest.approx((3, 2, 1.5))
    lone = slices()[0]
    del lone.SliceThickness
    refused(save_slices(tmp_path / "bare", [lone]), "one slice without SliceThickness")


def test_objects_without_slices_are_passed_over(tmp_path):
    folder = save_series(tmp_path / "ct", ARRAY, AFFINE)
    for name, storage in (("rtstruct.dcm", RTStructureSetStorage), ("seg.dcm", SegmentationStorage)):
        other = slices()[0]
        other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = storage
        other.SeriesInstanceUID = "1.2.3"
        for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing") + (
            ("Rows", "Columns", "PixelData") if name[0] == "r" else ()
        ):
            delattr(other, tag)
        other.save_as(folder / name, enforce_file_format=True)
    (folder / ".DS_Store").write_bytes(b"hidden")
    (folder / "deeper").mkdir()
    np.testing.assert_array_equal(read_volume([folder]).array[0], ARRAY)


def changed(index, **values):
    series = slices()
    for name, value in values.items():
        if value is None:
            delattr(series[index], name)
        else:
            setattr(series[index], name, value)
    return series


BAD = {
    "two series": (
        changed(2, SeriesInstanceUID="1.2.3"),
        r"ct: found 2 series: 1 '' \(1 slice, CT, 1\.2\.3\); .*series=",
    ),
    "orientation": (
        changed(2, ImageOrientationPatient=[1, 0, 0, 0, 0.8, 0.6]),
        r"slice_003\.dcm: found ImageOrientationPatient",
    ),
    "no unit vectors": (
        changed(2, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
        r"slice_003\.dcm: found ImageOrientationPatient .* perpendicular",
    ),
    "spacing": (changed(2, PixelSpacing=[2.0, 1.6]), r"slice_00\d\.dcm: found PixelSpacing"),
    "negative spacing": (changed(2, PixelSpacing=[2.0, -1.5]), r"slice_003\.dcm: found .*positive"),
    "shape": (changed(2, Rows=6, Columns=4), r"slice_00\d\.dcm: found Rows, Columns"),
    "no position": (changed(2, ImagePositionPatient=None), r"slice_003\.dcm: found no ImagePositionPatient"),
    "empty position": (
        changed(2, ImagePositionPatient=""),
        r"slice_003\.dcm: found no ImagePositionPatient|found ImagePositionPatient",
    ),
    "no orientation": (changed(2, ImageOrientationPatient=None), r"slice_003\.dcm: found no ImageOrientationPatient"),
    "gap": (slices()[:2] + slices()[3:], r"slice_002\.dcm: found 6 mm from slice_003\.dcm; expected 3 mm"),
    "duplicate": ([*slices(), slices()[3]], r"slice_00\d\.dcm: found the position of slice_00\d\.dcm"),
    "off the line": (changed(2, ImagePositionPatient=[-50, -30, -14]), r"slice_003\.dcm: found a position"),
    "frames": (changed(2, NumberOfFrames=2), r"slice_003\.dcm: found 2 frames"),
    "colour": (changed(2, SamplesPerPixel=3), r"slice_003\.dcm: found 3 samples"),
    "modality": (changed(2, Modality="MR"), r"slice_00\d\.dcm: found Modality"),
    "no slope": (changed(2, RescaleSlope=0), r"slice_003\.dcm: found RescaleSlope 0"),
    "short pixels": (changed(2, PixelData=b"12"), r"slice_003\.dcm"),
    "no pixels": (changed(2, PixelData=None), r"slice_003\.dcm"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_series_is_refused_with_the_file_named(tmp_path, name):
    series, message = BAD[name]
    refused(save_slices(tmp_path / "ct", series), message)


def scouted(**values):
    """A scout in the folder, first by name."""
    scout = dicom_slice(ARRAY[0], AFFINE, 9)
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    for name, value in values.items():
        setattr(scout, name, value)
    return [*slices(), scout]


def placed(positions_mm):
    series = [dicom_slice(ARRAY[0], AFFINE, index) for index in range(len(positions_mm))]
    for s, position in zip(series, positions_mm, strict=True):
        s.ImagePositionPatient = [-40, -30, position]
    return series


def echoes():
    series = [dicom_slice(plane, AFFINE, index) for _ in range(2) for index, plane in enumerate(ARRAY[:3])]
    for number, s in enumerate(series):
        s.EchoTime = 10 if number < 3 else 90
    return series


BLAMED = {
    "scout": (
        scouted(),
        r"slice_001\.dcm: found ImageOrientationPatient .*; expected .*, as slice_002\.dcm; "
        r"move it away if it is a scout",
    ),
    "thick scout": (
        scouted(ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[4, 4]),
        r"slice_001\.dcm: found PixelSpacing \(4\.0, 4\.0\)",
    ),
    "spacing changes": (
        placed([0, 3, 6, 9, 14, 19]),
        r"slice_002\.dcm: found 5 mm from slice_003\.dcm, and 2 of 5 .*; the spacing changes within",
    ),
    "missing": (
        placed([0, 3, 6, 15, 18]),
        r"slice_002\.dcm: found 9 mm from slice_003\.dcm; expected 3 mm, .*; restore the missing slices",
    ),
    "closer": (placed([0, 3, 6, 9, 10.5, 13.5]), r"found 1\.5 mm from .*; the spacing changes within"),
    "echoes": (
        echoes(),
        r"slice_006\.dcm: found the position of slice_003\.dcm, with EchoTime 10\.0 instead of 90\.0; .* put each echo",
    ),
}


@pytest.mark.parametrize("name", BLAMED)
def test_the_line_blames_what_is_wrong(tmp_path, name):
    series, message = BLAMED[name]
    refused(save_slices(tmp_path / "ct", series), message)


def numbered(number, uid, description, array=ARRAY, **values):
    series = [dicom_slice(plane, AFFINE, index) for index, plane in enumerate(array)]
    for s in series:
        s.SeriesNumber, s.SeriesInstanceUID, s.SeriesDescription = number, uid, description
        for name, value in values.items():
            setattr(s, name, value)
    return series


def test_several_series_are_listed_and_one_is_chosen(tmp_path):
    folder = save_slices(
        tmp_path / "ct", [*numbered(4, "1.4", "Lung"), *numbered(2, "1.2", "Abdomen 5mm", ARRAY[:4] + 1)]
    )
    refused(folder, r"2 series: 2 'Abdomen 5mm' \(4 slices, CT, 1\.2\); 4 'Lung' \(5 slices, CT, 1\.4\); .*series=<its")
    for wanted in ("2", "1.2"):
        path, number = choose_series(folder, wanted)
        assert number == "2"
        np.testing.assert_array_equal(read_volume([path]).array[0], ARRAY[:4] + 1)
        np.testing.assert_array_equal(read_volume([choose_series(folder, "4")[0]]).array[0], ARRAY)
    with pytest.raises(InputError, match=r"no series 3; expected one of 2 'Abdomen"):
        choose_series(folder, "3")


@pytest.mark.parametrize(
    "values",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "PixelSpacing": [4, 4]},
    ],
)
def test_localisers_beside_the_volume_are_passed_over_and_said(tmp_path, values):
    scouts = numbered(1, "1.1", "Topogram", ARRAY[:2], **values)
    volume = read_volume([save_slices(tmp_path / "ct", [*scouts, *numbered(2, "1.2", "Abdomen")])])
    np.testing.assert_array_equal(volume.array[0], ARRAY)
    assert volume.notes == ("localisers passed over: 1 'Topogram' (2 slices, CT, 1.1)",)


def test_files_of_another_kind_are_passed_over(tmp_path):
    folder = save_series(tmp_path / "ct", ARRAY, AFFINE)
    names = (
        "predict.log",
        "label.json",
        "Thumbs.db",
        ".DS_Store",
        "._slice_001.dcm",
        "report.PDF",
        "notes.txt",
        "desktop.ini",
        "empty.txt",
    )
    for name in names:
        (folder / name).write_bytes(b"" if name == "empty.txt" else b"\0\5\x16\7 something else" * 20)
    save_nifti(folder / "label.nii.gz", ARRAY.astype(np.uint8), AFFINE)
    assert is_series(folder)
    np.testing.assert_array_equal(read_volume(folder).array[0], ARRAY)
    (folder / "slice_003.dcm").rename(folder / "slice_003.txt")
    np.testing.assert_array_equal(read_volume(folder).array[0], ARRAY, err_msg="a slice is known by its content")
    (folder / "slice_001.dcm.gz").write_bytes(b"a packed slice")
    refused(folder, r"slice_001\.dcm\.gz: found InvalidDicomError")


@pytest.mark.parametrize("keep", [132, None])
@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian])
def test_files_without_preamble_are_read(tmp_path, keep, syntax):
    """Without the 132 bytes ahead, or with the bare tags alone."""
    series = slices(intercept=-1024)
    for dataset in series:
        dataset.file_meta.TransferSyntaxUID = syntax
    folder = save_slices(tmp_path / "ct", series)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        length = 132 + 12 + dataset.file_meta.FileMetaInformationGroupLength
        path.write_bytes(path.read_bytes()[keep or length :])
    assert is_series(folder)
    np.testing.assert_array_equal(read_volume(folder).array[0], ARRAY - 1024)


@pytest.mark.parametrize("packed", [False, True])
def test_rows_and_columns_that_the_file_cannot_hold(tmp_path, packed):
    series = slices()
    for dataset in series:
        dataset.Rows = dataset.Columns = 65535
        dataset.file_meta.TransferSyntaxUID = RLELossless if packed else pydicom.uid.ExplicitVRLittleEndian
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", packed
        dataset.PixelData = pydicom.encaps.encapsulate([bytes(100)]) if packed else dataset.PixelData
    folder = save_slices(tmp_path / "ct", series)
    tracemalloc.start()
    try:
        refused(folder, r"slice_00\d\.dcm: found a header that claims 8589672450 bytes")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_reading_in_threads_leaves_warnings_alone(tmp_path):
    """Numbers longer than DICOM allows are no reason to warn, nor to switch warnings off for other threads."""
    with pydicom.config.disable_value_validation():
        series = slices()
        for dataset in series:
            dataset.add_new("RescaleIntercept", "DS", "-1024.00000000000000001")
            dataset.add_new("PatientID", "LO", "x" * 80)
        folder = save_slices(tmp_path / "ct", series)
    before = warnings.filters[:]
    with ThreadPoolExecutor(4) as readers:
        for array in readers.map(lambda _: read_volume(folder).array[0], range(12)):
            np.testing.assert_array_equal(array, ARRAY - 1024)
    assert warnings.filters == before


def test_a_slice_that_is_no_dicom_file_is_never_left_out(tmp_path):
    folder = save_series(tmp_path / "ct", ARRAY, AFFINE)
    (folder / "slice_001.dcm").write_text("a note")
    refused(folder, r"slice_001\.dcm: found InvalidDicomError")


def test_a_folder_without_slices(tmp_path):
    (tmp_path / "empty").mkdir()
    assert not is_series(tmp_path / "empty")
    refused(tmp_path / "empty", "empty: found no DICOM slice")


@pytest.mark.skipif(not (REAL / "dicom_series").is_dir(), reason=f"no DICOM series in {REAL} (set UNISEG_DICOM)")
def test_a_scanners_series_with_a_label_stored_upside_down():
    image, label_path = REAL / "dicom_series", REAL / "dicom_series_seg.nii.gz"
    volume = read_volume([image])
    label = read_label(label_path, [image])
    assert volume.array.shape == (1, 20, 512, 512)
    assert label.shape == volume.array.shape[1:]
    by_value = {value: volume.array[0][label == value].mean() for value in (1, 5, 32)}
    assert 50 < by_value[1] < 130  # spleen, in Hounsfield units
    assert 50 < by_value[5] < 130  # liver
    assert by_value[32] > 200  # a vertebra
    upside_down = volume.array[0][label[:, ::-1] == 32].mean()
    assert upside_down < 0 < by_value[32]
    assert pydicom.dcmread(min(image.iterdir())).RescaleIntercept == volume.array.min() == -1024
