"""Headers, voxels and files of scans: read for what they are, or refused in a line that names the file."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from field.base import TASK
from field.inputs import dicom, voxels
from field.inputs.balls import SPACING_MM, affine, ball, dice, read, save
from field.inputs.geometry import micrometres, write_geometry
from field.marks import rows

VOXEL_ML = float(np.prod(SPACING_MM)) / 1000


@pytest.fixture(scope="module")
def headers(commands, base, tmp_path_factory):
    """(folder of scans, folder of label maps, stderr) of one prediction over all headers."""
    folder = tmp_path_factory.mktemp("geometry")
    scans = write_geometry(folder / "scans")
    done = base.predict(commands, scans, folder / "out")
    assert done.code == 0, done.tail
    return scans, folder / "out" / TASK, done.stderr


def same_grid(scan, label):
    """Both affines of the label map, with their codes, in mm."""
    one, other = (nib.load(path).header for path in (scan, label))
    mm = {"micron": 1e-3, "meter": 1e3}
    for form in ("get_sform", "get_qform"):
        (expected, code), (found, found_code) = (getattr(header, form)(coded=True) for header in (one, other))
        assert found_code == code, form
        if code:
            factors = (mm.get(header.get_xyzt_units()[0], 1.0) for header in (one, other))
            expected, found = (
                np.diag([factor] * 3 + [1]) @ matrix for factor, matrix in zip(factors, (expected, found), strict=True)
            )
            np.testing.assert_allclose(found, expected, atol=1e-3, err_msg=form)


@pytest.mark.parametrize(
    "name", ["plain", "both_differ", "qform_only", "micron", "sheared", "inverted_z", "big_endian", "nifti2"]
)
def test_the_label_map_carries_both_affines_with_their_codes(headers, name):
    scans, maps, _ = headers
    same_grid(scans / f"{name}.nii.gz", maps / f"{name}.nii.gz")


@pytest.mark.parametrize("name", ["both_differ", "qform_only", "micron", "big_endian", "nifti2"])
def test_the_same_voxels_of_the_same_size_have_the_same_answer(headers, name):
    _, maps, _ = headers
    np.testing.assert_array_equal(read(maps / f"{name}.nii.gz"), read(maps / "plain.nii.gz"))


@pytest.mark.parametrize("name", ["plain", "micron", "qform_only", "inverted_z", "sheared"])
def test_the_volume_is_that_of_the_ball_in_ml(headers, name):
    _, maps, _ = headers
    voxels_found = np.count_nonzero(read(maps / f"{name}.nii.gz"))
    (volume,) = json.loads((maps / f"{name}.json").read_text())["volumes_ml"].values()
    assert volume == pytest.approx(voxels_found * VOXEL_ML, rel=1e-3, abs=2e-3)
    assert dice(read(maps / f"{name}.nii.gz"), ball()[1]) > 0.6


def test_two_affines_that_differ_are_noted(headers):
    *_, stderr = headers
    noted = [line for line in stderr.splitlines() if "both_differ" in line]
    assert any("sform" in line and "qform" in line for line in noted), stderr


def test_a_scan_of_48_metres_is_refused_before_memory_is_taken(commands, base, tmp_path):
    """Micrometres in a file that says mm."""
    scan = save(tmp_path / "large.nii.gz", ball()[0], micrometres())
    line = commands.refuse(
        "predict",
        *base.predicting(scan, tmp_path / "out"),
        cwd=tmp_path,
        mentions=("large.nii.gz",),
        memory_bytes=4 << 30,
    )
    assert "2000" in line
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_an_absurd_spacing_is_a_finding_of_the_audit(commands, base, tmp_path):
    for k in range(4):
        image, label = ball(k)
        matrix = micrometres() if k == 2 else affine()
        save(tmp_path / f"raw/imagesTr/case_{k}_0000.nii.gz", image, matrix)
        save(tmp_path / f"raw/labelsTr/case_{k}.nii.gz", label, matrix)
    (tmp_path / "raw/dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}}))
    given = [
        f"task=[{TASK}]",
        f"tasks.{TASK}.source.root={tmp_path}/raw",
        f"paths.cache={tmp_path}/cache",
        "num_workers=1",
    ]
    commands.refuse("prepare", *given, cwd=base.folder, mentions=("case_2", "2000"), memory_bytes=4 << 30)
    assert not (tmp_path / f"cache/{TASK}/task.json").exists()


@pytest.fixture(scope="module")
def series(commands, base, tmp_path_factory):
    """(folder of label maps, exit code, stderr) of one prediction over all series that can be read."""
    folder = tmp_path_factory.mktemp("dicom")
    for name, write in dicom.READABLE.items():
        write(folder / "scans" / name)
    save(
        folder / "scans/same.nii.gz", np.ascontiguousarray(dicom.planes().transpose(2, 1, 0)), dicom.affine_of_series()
    )
    done = base.predict(commands, folder / "scans", folder / "out")
    return folder / "out" / TASK, done


@pytest.mark.parametrize("name", [name for name in dicom.READABLE if name != "padding"])
def test_a_series_is_read_as_the_same_scan_in_nifti(series, name):
    maps, done = series
    assert done.code == 0, done.tail
    np.testing.assert_array_equal(read(maps / f"{name}.nii.gz"), read(maps / "same.nii.gz"))
    np.testing.assert_allclose(nib.load(maps / f"{name}.nii.gz").affine, dicom.affine_of_series(), atol=1e-3)


def test_a_padded_series_is_read(series):
    maps, done = series
    assert done.code == 0, done.tail
    assert dice(read(maps / "padding.nii.gz"), read(maps / "same.nii.gz")) > 0.7


@pytest.mark.parametrize("name", rows(dicom.FAULTY, fast=["scout", "uneven"]))
def test_a_faulty_series_is_refused_for_its_fault(commands, base, tmp_path, name):
    write, mentions = dicom.FAULTY[name]
    write(tmp_path / name)
    done = base.predict(commands, tmp_path / name, tmp_path / "out")
    assert "Traceback" not in done.stderr, done.tail
    if done.code == 0:  # read in spite of it, which the user learns
        assert name in (
            "dose_report",
            "scout",
            "scout_of_other_series",
            "tilt",
            "pet_without_tags",
            "multiframe",
            "duplicate",
        ), done.tail
        assert list((tmp_path / "out").rglob("*.nii.gz"))
        text = done.stderr
    else:
        assert (done.code, len(done.errors)) == (2, 1), done.tail
        (text,) = done.errors
    for words in mentions:
        assert any(word.casefold() in text.casefold() for word in words), text
    assert "missing" not in text or name == "missing", "advice to fetch slices that are there"


@pytest.mark.slow
def test_a_nested_series_is_found_or_named(commands, base, tmp_path):
    dicom.write_series(tmp_path / "nested/study/series1")
    done = base.predict(commands, tmp_path / "nested", tmp_path / "out")
    assert done.code in (0, 2), done.tail
    assert "Traceback" not in done.stderr
    if done.code == 2:
        assert len(done.errors) == 1
        assert "series1" in done.errors[0] or "study" in done.errors[0]


def test_nothing_of_ours_spoils_the_folder_of_a_series(commands, base, tmp_path):
    folder = dicom.write_series(tmp_path / "series")
    for _ in range(2):
        done = base.predict(commands, folder, folder)
        assert done.code == 0, done.tail
    ours = {path.name for path in folder.rglob("*") if not path.name.startswith("IM")}
    assert ours == {TASK, "series.nii.gz", "series.json"}
    np.testing.assert_array_equal(read(folder / TASK / "series.nii.gz").shape, dicom.planes().T.shape)


def test_odd_voxels_are_predicted(commands, base, tmp_path):
    folder = voxels.write_readable(tmp_path / "scans")
    done = base.predict(commands, folder, tmp_path / "out")
    assert done.code == 0, done.tail
    for path in folder.iterdir():
        label = read(tmp_path / "out" / TASK / path.name)
        assert label.shape == read(path).shape[:3], path.name
    same = [read(tmp_path / f"out/{TASK}/{name}.nii.gz") for name in ("float64", "singleton4d")]
    np.testing.assert_array_equal(*same)
    assert dice(same[0], ball()[1]) > 0.6


@pytest.mark.parametrize("name", rows(["series4d", "flat2d", "nan", "rgb"], fast=["series4d"]))
def test_what_is_no_scan_is_refused_by_name(commands, base, tmp_path, name):
    path = voxels.write_unreadable(tmp_path / "scans")[name]
    commands.refuse("predict", *base.predicting(path, tmp_path / "out"), cwd=tmp_path, mentions=(path.name,))
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


@pytest.mark.parametrize(("name", "message"), rows(voxels.UNLIKE, fast=["renamed.nii.gz"]))
def test_a_file_that_is_not_what_its_ending_says(commands, base, tmp_path, name, message):
    path = voxels.write_unlike_their_ending(tmp_path / "scans")[name]
    done = base.predict(commands, path, tmp_path / "out")
    if done.code == 0:
        (found,) = (tmp_path / "out").rglob("*.nii.gz")
        assert dice(read(found), ball()[1]) > 0.6
    else:
        assert (done.code, len(done.errors)) == (2, 1), done.tail
        assert name in done.errors[0]
        assert message.casefold() in done.errors[0].casefold()


@pytest.mark.slow
def test_a_slope_of_0_means_not_scaled(commands, base, tmp_path):
    paths = voxels.write_slopes(tmp_path / "scans")
    done = base.predict(commands, paths["0"], tmp_path / "out")
    assert done.code == 0, done.tail
    assert dice(read(tmp_path / f"out/{TASK}/slope_0.nii.gz"), ball()[1]) > 0.6
    done = base.predict(commands, paths["nan"], tmp_path / "out")
    assert "Traceback" not in done.stderr
    assert done.code == 0 or "slope_nan.nii" in done.errors[0]


def test_a_flipped_bit_in_a_packed_scan_is_found(commands, base, tmp_path):
    content = bytearray(save(tmp_path / "scan.nii.gz", ball()[0]).read_bytes())
    content[-8] ^= 1  # of gzip's check of what it unpacks
    (tmp_path / "scan.nii.gz").write_bytes(content)
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(bytes(content))
    commands.refuse(
        "predict", *base.predicting(tmp_path / "scan.nii.gz", tmp_path / "out"), cwd=tmp_path, mentions=("scan.nii.gz",)
    )
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_one_bad_scan_does_not_end_a_folder(commands, base, tmp_path):
    for k in range(3):
        save(tmp_path / f"scans/scan{k}.nii.gz", ball(k)[0])
    bad = tmp_path / "scans/scan1.nii.gz"
    bad.write_bytes(bad.read_bytes()[:3000])
    for _ in range(2):
        done = base.predict(commands, tmp_path / "scans", tmp_path / "out")
        assert (done.code, len(done.errors)) == (2, 1), done.tail
        assert "scan1.nii.gz" in done.errors[0]
        assert sorted(path.name for path in (tmp_path / "out" / TASK).glob("*.nii.gz")) == [
            "scan0.nii.gz",
            "scan2.nii.gz",
        ]


def test_a_scan_replaced_under_its_name_is_predicted_anew(commands, base, tmp_path):
    scan, fresh = save(tmp_path / "scan.nii.gz", ball(0)[0]), tmp_path / "fresh"
    assert base.predict(commands, scan, tmp_path / "out").code == 0
    save(scan, ball(3, (30, 26, 22))[0])
    for output in (tmp_path / "out", fresh):
        assert base.predict(commands, scan, output).code == 0
    found, expected = (read(output / TASK / "scan.nii.gz") for output in (tmp_path / "out", fresh))
    assert found.shape == (30, 26, 22)
    np.testing.assert_array_equal(found, expected)
    before = (tmp_path / f"out/{TASK}/scan.nii.gz").stat().st_mtime_ns
    assert base.predict(commands, scan, tmp_path / "out").code == 0
    assert (tmp_path / f"out/{TASK}/scan.nii.gz").stat().st_mtime_ns == before, "the same scan is not computed again"


def test_no_output_replaces_a_scan(commands, base, tmp_path):
    """``input=/data/spleen output=/data tasks=[spleen]``."""
    scan = save(tmp_path / f"data/{TASK}/scan.nii.gz", ball()[0])
    side = scan.with_name("scan.json")
    side.write_text('{"Manufacturer": "none"}')
    before = scan.read_bytes()
    done = base.predict(commands, scan.parent, tmp_path / "data")
    assert (done.code, len(done.errors)) == (2, 1), done.tail
    assert (scan.read_bytes(), side.read_text()) == (before, '{"Manufacturer": "none"}')


def test_no_output_replaces_a_file_that_is_not_ours(commands, base, tmp_path):
    scan = save(tmp_path / "scan.nii.gz", ball()[0])
    drawn = save(tmp_path / f"out/{TASK}/scan.nii.gz", ball()[1])
    before = drawn.read_bytes()
    commands.refuse("predict", *base.predicting(scan, tmp_path / "out"), cwd=tmp_path, mentions=("scan.nii.gz",))
    assert drawn.read_bytes() == before
