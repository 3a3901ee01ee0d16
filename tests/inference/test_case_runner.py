"""Cases one after the other: what is predicted after a bad one, what stays when a disk is full."""

import errno
import json
import os
import threading
import weakref

import nibabel as nib
import numpy as np
import pytest
import torch

from samples import make_task, save_nifti, small_model
from scan_files import dicom_slice, identified, save_series, save_slices
from uniseg import InputError, Predictor, TaskSet, predict_files
from uniseg.datasets.case import Case
from uniseg.inference.case_runner import CaseRunner
from uniseg.inference.plane_writer import PlaneWriter

TASK = make_task("spleen", classes=("background", "spleen"), spacing_mm=(3, 1.5, 1.5))
SHAPE = (12, 20, 20)


@pytest.fixture(scope="module")
def predictor():
    return Predictor(small_model(TaskSet([TASK])))


@pytest.fixture
def cases(tmp_path):
    paths = [save_nifti(tmp_path / f"scans/case{k}.nii.gz", noise(k)) for k in range(4)]
    return [(Case(path.name.removesuffix(".nii.gz"), "x", (path,), None), {"spleen": (path,)}) for path in paths]


def noise(seed):
    return np.random.default_rng(seed).normal(40, 150, SHAPE).astype(np.int16)


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_scan_replaced_under_its_name_is_predicted_again(predictor, tmp_path):
    scan = save_nifti(tmp_path / "scan.nii", noise(0))
    (path,) = predict_files(predictor, scan, tmp_path / "out", tasks="spleen")
    first, written = path.read_bytes(), path.stat().st_mtime_ns
    predict_files(predictor, scan, tmp_path / "out", tasks="spleen")
    assert path.stat().st_mtime_ns == written
    size = scan.stat().st_size
    save_nifti(scan, noise(1))
    assert scan.stat().st_size == size, "it differs by its time alone"
    predict_files(predictor, scan, tmp_path / "out", tasks="spleen")
    assert path.read_bytes() != first
    (fresh,) = predict_files(predictor, scan, tmp_path / "fresh", tasks="spleen")
    np.testing.assert_array_equal(nib.load(path).get_fdata(), nib.load(fresh).get_fdata())


def test_a_scan_for_which_the_gpu_has_no_room_is_refused_and_lets_go_of_it(cases, tmp_path, monkeypatch):
    """The others are predicted; what the error's frames held is free by then."""
    predictor, put, held = Predictor(small_model(TaskSet([TASK]))), PlaneWriter.put, []

    def full(writer, array, target, values):
        if not held:
            held.append(weakref.ref(values))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total of")
        return put(writer, array, target, values)

    monkeypatch.setattr(PlaneWriter, "put", full)
    outcomes = list(CaseRunner(predictor, tmp_path / "out", probabilities=True).run(cases[:2]))
    assert [outcome.refusal is None for outcome in outcomes] == [False, True]
    assert "Tried to allocate 2.00 GiB.; expected room for this scan" in str(outcomes[0].refusal)
    assert held[0]() is None


def test_one_slice_replaced_is_predicted_again(predictor, tmp_path):
    affine = np.diag([-1.5, -1.5, 3.0, 1])
    folder = save_series(tmp_path / "ct", (noise(0) + 1000).clip(0), affine, intercept=-1000)
    (path,) = predict_files(predictor, folder, folder, tasks="spleen")
    record = json.loads((folder / "spleen/ct.json").read_text())
    predict_files(predictor, folder, folder, tasks="spleen")
    assert json.loads((folder / "spleen/ct.json").read_text()) == record, "our own files do not make it another scan"
    save_series(tmp_path / "other", (noise(5) + 1000).clip(0), affine, intercept=-1000)
    (tmp_path / "other/slice_003.dcm").rename(folder / "slice_003.dcm")
    before = path.read_bytes()
    predict_files(predictor, folder, folder, tasks="spleen")
    assert path.read_bytes() != before


def test_a_full_disk_ends_in_the_files_name(predictor, cases, tmp_path, monkeypatch):
    save, threads = nib.save, threading.active_count()

    def full(image, path):
        save(image, path)
        if "case2" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("uniseg.images.files.nib.save", full)
    runner = CaseRunner(predictor, tmp_path / "out")
    with pytest.raises(OSError, match="No space left") as caught:
        list(runner.run(cases))
    assert caught.value.filename == str(tmp_path / "out/spleen/case2.nii.gz")
    kept = ["case0.json", "case0.nii.gz", "case1.json", "case1.nii.gz"]
    assert names(tmp_path / "out") == kept, "nothing half-written, what is finished stays, the next is not begun"
    assert threading.active_count() == threads
    monkeypatch.setattr("uniseg.images.files.nib.save", save)
    before = {name: (tmp_path / "out/spleen" / name).stat().st_mtime_ns for name in kept}
    assert all(outcome.refusal is None for outcome in runner.run(cases))
    assert {name: (tmp_path / "out/spleen" / name).stat().st_mtime_ns for name in kept} == before


def test_what_was_begun_stays_ours(predictor, cases, tmp_path, monkeypatch):
    """A kill between label map and JSON leaves both; the next call knows them as ours and makes them again."""
    runner = CaseRunner(predictor, tmp_path / "out")

    class Killed(BaseException):
        pass

    written = []

    def die(path, values):
        written.append(path)
        if len(written) == 2:
            raise Killed
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    with monkeypatch.context() as patch:
        patch.setattr("uniseg.inference.case_writer.write_json", die)
        with pytest.raises(Killed):
            list(runner.run(cases[:1]))
    assert names(tmp_path / "out") == ["case0.json", "case0.nii.gz"]
    assert json.loads((tmp_path / "out/spleen/case0.json").read_text())["unfinished"] is True
    list(runner.run(cases[:1]))
    record = json.loads((tmp_path / "out/spleen/case0.json").read_text())
    assert "unfinished" not in record
    assert record["images"] == [str(cases[0][1]["spleen"][0])]


def test_a_case_that_vanishes_is_refused_alone(predictor, cases, tmp_path):
    cases[0][1]["spleen"][0].unlink()
    outcomes = list(CaseRunner(predictor, tmp_path / "out").run(cases))
    assert [outcome.refusal is None for outcome in outcomes] == [False, True, True, True]
    assert "case0.nii.gz: found No such file" in str(outcomes[0].refusal)


def test_what_the_network_refuses_names_the_scan(predictor, cases, tmp_path, monkeypatch):
    monkeypatch.setattr("uniseg.preprocessing.preprocess.MOST_VOXELS", noise(0).size // 10)
    outcomes = list(CaseRunner(predictor, tmp_path / "out").run(cases[1:2]))
    assert "case1.nii.gz, scan: found " in str(outcomes[0].refusal)


def test_a_series_that_nothing_can_refer_to_is_refused_before_the_network(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(predictor, "segment", None)
    affine = np.diag([-1.5, -1.5, 3.0, 1])
    slices = identified([dicom_slice((plane + 1000).clip(0), affine, k) for k, plane in enumerate(noise(0))])
    slices[3].StudyInstanceUID = slices[3].FrameOfReferenceUID = ""
    folder = save_slices(tmp_path / "ct", slices)
    with pytest.raises(InputError, match=r"found no StudyInstanceUID, FrameOfReferenceUID; .*format=nifti or nrrd"):
        predict_files(predictor, folder, tmp_path / "out", tasks="spleen", format="rtstruct")


def test_no_case_is_no_work(predictor, tmp_path):
    assert list(CaseRunner(predictor, tmp_path / "out").run([])) == []
    assert not (tmp_path / "out").exists()


def test_two_cases_of_one_name(predictor, cases, tmp_path):
    with pytest.raises(InputError, match=r"case0\.nii\.gz: found a second scan called 'case0'"):
        list(CaseRunner(predictor, tmp_path / "out").run([cases[0], cases[0]]))
