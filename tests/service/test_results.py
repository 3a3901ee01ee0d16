"""What comes back is what ``uniseg predict`` writes, bit for bit."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest

from scan_files import dicom_slice, identified, save_itk, save_slices
from served import AFFINE, LONGEST_S, TASKS, running, save_scan, small_predictor
from uniseg import predict_files
from uniseg.images.segments import make_segments
from uniseg.service.uniseg_client import ServiceError


def by_task(paths):
    return {path.parent.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def predictor():
    return small_predictor()


def test_a_nifti_gives_the_bytes_of_predict(served, predictor, tmp_path):
    scan = save_scan(tmp_path / "case 7.nii.gz")
    expected = predict_files(predictor, scan, tmp_path / "expected")
    paths = served.client.run(scan, tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == [
        "liver/case 7.nii.gz",
        "spleen/case 7.nii.gz",
    ]
    assert by_task(paths) == by_task(expected)
    assert served.files() == [], "the client removes what it made"


def test_the_answer_says_what_the_json_says(served, predictor, tmp_path):
    scan = save_scan(tmp_path / "scan.nii", seed=1)
    (path,) = predict_files(predictor, scan, tmp_path / "expected", tasks="liver")
    upload = served.client.upload(scan)
    job = served.client.wait(served.client.start(upload["id"], ["liver"])["id"])
    facts = json.loads(path.with_name("scan.json").read_text())
    (result,) = job["results"]
    assert (result["values"], result["volumes_ml"]) == (facts["values"], facts["volumes_ml"])
    assert (job["state"], job["stage"], job["fraction"]) == ("done", "done", 1.0)
    guessed = served.client.wait(served.client.start(upload["id"])["id"])
    assert guessed["tasks"] == ["liver", "spleen"]
    assert guessed["notes"][0].startswith("scan: CT (")
    assert "does not fit: tumour (CT+PET)" in guessed["notes"][0]


def test_channels_come_by_name(served, predictor, tmp_path):
    ct, pet = save_scan(tmp_path / "ct.nii.gz", 1), save_scan(tmp_path / "pet.nii.gz", 2)
    (expected,) = predict_files(predictor, [ct, pet], tmp_path / "expected", tasks="tumour", modality=["CT", "PET"])
    (path,) = served.client.run({"PET": pet, "CT": ct}, tmp_path / "out", ["tumour"])
    assert path.read_bytes() == expected.read_bytes()
    (swapped,) = served.client.run({"PET": ct, "CT": pet}, tmp_path / "swapped", ["tumour"])
    assert swapped.read_bytes() != expected.read_bytes()


def test_a_nrrd_comes_back_as_slicer_wants_it(served, predictor, tmp_path):
    values = np.random.default_rng(0).normal(40, 150, (20, 24, 22)).astype(np.int16)
    scan = save_itk(tmp_path / "scan.nrrd", values, AFFINE, is_packed=True)
    (expected,) = predict_files(predictor, scan, tmp_path / "expected", tasks="liver", format="nrrd")
    (path,) = served.client.run(scan, tmp_path / "out", ["liver"], label_map_format="nrrd")
    assert (path.name, path.read_bytes()) == ("scan.seg.nrrd", expected.read_bytes())


def test_a_zipped_series_gives_a_dicom_segmentation_of_its_slices(served, predictor, tmp_path):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    array = np.random.default_rng(0).normal(1064, 150, (8, 24, 22)).clip(0, 4000)
    slices = identified([dicom_slice(plane, AFFINE, k, intercept=-1024) for k, plane in enumerate(array)])
    folder = save_slices(tmp_path / "ct", slices)
    (expected,) = predict_files(predictor, folder, tmp_path / "expected", tasks="liver", format="dicom_seg")
    (path,) = served.client.run(folder, tmp_path / "out", ["liver"], label_map_format="dicom_seg")
    ours, theirs = pydicom.dcmread(path), pydicom.dcmread(expected)
    assert path.name == "ct.seg.dcm"
    assert ours.PixelData == theirs.PixelData
    (referenced,) = ours.ReferencedSeriesSequence
    uids = {each.ReferencedSOPInstanceUID for each in referenced.ReferencedInstanceSequence}
    assert uids == {s.SOPInstanceUID for s in slices}
    (nifti,) = predict_files(predictor, folder, tmp_path / "expected", tasks="liver")
    packed = tmp_path / "deep.zip"
    with zipfile.ZipFile(packed, "w") as archive:  # as archives of hospitals are: folders, hidden files, a text
        for number, each in enumerate(sorted(folder.iterdir())):
            archive.write(each, f"../study/series/{number}")
        archive.writestr("__MACOSX/._0", b"x")
        archive.writestr("README.txt", "slices")
    assert by_task(served.client.run(packed, tmp_path / "out", ["liver"])) == by_task([nifti])


def test_a_job_that_fails_says_why_without_our_paths(served, tmp_path):
    scan = save_scan(tmp_path / "mine.nii.gz")
    upload = served.client.upload(scan)
    job = served.client.start(upload["id"], ["liver"], label_map_format="rtstruct")
    with pytest.raises(ServiceError, match=r"mine\.nii\.gz: found no DICOM series for format=rtstruct") as refused:
        served.client.wait(job["id"])
    assert str(served.store.folder) not in str(refused.value)
    job = served.client.start({"CT": upload["id"], "PET": upload["id"]}, ["tumour"], series="3")
    with pytest.raises(ServiceError, match="found '3' with a list of files"):
        served.client.wait(job["id"])


def test_the_tasks_are_listed_with_names_and_colours(served):
    network = served.client.tasks()
    assert [task["name"] for task in network["tasks"]] == list(TASKS.names)
    assert network["tasks"][2]["modalities"] == ["CT", "PET"]
    expected = make_segments(TASKS[0].classes[1:], TASKS[0].class_values)
    listed = [(each["name"], each["values"], tuple(each["colour"])) for each in network["tasks"][0]["classes"]]
    assert listed == [(each.name, list(each.values), each.colour) for each in expected]
    assert network["checkpoint"] == "abc"


def test_clients_at_once_get_each_their_own(tmp_path, predictor):
    """Twenty of them, in a process whose memory is watched: test_under_load.py."""
    scans = [save_scan(tmp_path / f"scan{k}.nii.gz", k, (8, 20, 20)) for k in range(5)]
    with running(tmp_path) as service, ThreadPoolExecutor(5) as clients:
        jobs = [clients.submit(service.client.run, scan, tmp_path / "out", ["spleen"]) for scan in scans]
        paths = [job.result(LONGEST_S)[0] for job in jobs]
        assert service.files() == []
    assert not service.store.folder.exists()
    expected = predict_files(predictor, tmp_path, tmp_path / "expected", tasks="spleen")
    assert {path.name: path.read_bytes() for path in paths} == {path.name: path.read_bytes() for path in expected}


def test_progress_grows_to_the_end(tmp_path):
    scan, seen = save_scan(tmp_path / "scan.nii.gz", shape=(60, 24, 22)), []
    predictor = small_predictor()
    with running(tmp_path, predictor=predictor) as service:
        listen = predictor.stopwatch.listener

        def note(stage, fraction):
            listen(stage, fraction)
            job = service.store.jobs[service.service.worker.current]
            seen.append(service.service.worker.progress(job))

        predictor.stopwatch.listener = note
        service.client.run(scan, tmp_path / "out", ["liver"])
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 5
    assert fractions[-1] == pytest.approx(0.95)
    stages = list(dict.fromkeys(progress.stage for progress in seen))
    assert stages == ["reading", "resampling", "segmenting", "writing"]
