"""Files in, files out: what overlaps, what is kept, ensembles, probabilities."""

import io
import json
import threading
import time

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
from rich.console import Console
from rich.progress import Progress

from samples import make_task, small_model
from scan_files import dicom_slice, identified, save_slices
from uniseg import InputError, Predictor, TaskSet, Volume, load_ensemble, predict_files, read_volume, save_ensemble
from uniseg.datasets.case import Case
from uniseg.inference.case_reader import CaseReader
from uniseg.inference.case_runner import CaseRunner
from uniseg.inference.case_writer import CaseWriter
from uniseg.inference.postprocessing import ClassPostprocessing
from uniseg.inference.predict_files import predict_cases, require_none_refused
from uniseg.inference.settings import InferenceSettings
from uniseg.weights.ensemble import ensemble_hash

AFFINE = np.diag([-1.5, -1.5, 3.0, 1])
TASKS = TaskSet(
    [
        make_task("liver", spacing_mm=(3, 1.5, 1.5)),
        make_task("spleen", classes=("background", "spleen"), spacing_mm=(3, 1.5, 1.5)),
    ]
)


def save(path, seed=0):
    rng = np.random.default_rng(seed)
    body = rng.normal(40, 150, (20, 24, 22))
    body[:4] = -1000
    nib.save(nib.Nifti1Image(body.astype(np.int16), AFFINE), path)
    return path


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    return [save(folder / f"case{k}.nii.gz", k) for k in range(3)]


def labels(path):
    return np.asarray(nib.load(path).dataobj)


def test_a_folder_an_array_and_a_list_agree(scans, tmp_path):
    predictor = Predictor(small_model(TASKS))
    paths = predict_files(predictor, str(scans[0].parent), tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == [
        f"{task}/case{k}.nii.gz" for k in range(3) for task in ("liver", "spleen")
    ]
    volume = read_volume([scans[1]])
    again = predictor.predict(Volume.of_array(volume.array[0], volume.spacing_mm))
    assert set(again) == {"liver", "spleen"}
    for name, label in again.items():
        assert len(np.unique(label)) > 1
        np.testing.assert_array_equal(
            label,
            labels(tmp_path / "out" / name / "case1.nii.gz").T,
            err_msg="AFFINE is canonical but for x and y, which both turn",
        )
    listed = predict_files(predictor, [str(scans[2])], tmp_path / "listed", tasks="spleen", modality=["CT"])
    np.testing.assert_array_equal(labels(listed[0]), labels(tmp_path / "out/spleen/case2.nii.gz"))


def test_another_setting_is_computed_again(scans, tmp_path):
    model = small_model(TASKS)
    first = predict_files(Predictor(model), str(scans[0]), tmp_path, tasks="liver")[0]
    before = first.stat().st_mtime_ns
    predict_files(Predictor(model), str(scans[0]), tmp_path, tasks="liver")
    assert first.stat().st_mtime_ns == before
    predict_files(Predictor(model, InferenceSettings(overlap=0.25)), str(scans[0]), tmp_path, tasks="liver")
    assert first.stat().st_mtime_ns > before


def test_reading_and_writing_overlap_with_the_network(scans, tmp_path, monkeypatch):
    """While case 1 is computed, case 2 is read and case 0 is written."""
    predictor = Predictor(small_model(TASKS))
    seen = []
    segment, read, write = predictor.segment, CaseReader.read, CaseWriter.write

    def slow(*args):
        start = time.monotonic()
        time.sleep(0.3)
        segmentations = segment(*args)
        seen.append(("compute", threading.current_thread().name, start, time.monotonic()))
        return segmentations

    def timed(name, method):
        def method_with_times(self, *args):
            start = time.monotonic()
            result = method(self, *args)
            seen.append((name, threading.current_thread().name, start, time.monotonic()))
            return result

        return method_with_times

    monkeypatch.setattr(predictor, "segment", slow)
    monkeypatch.setattr(CaseReader, "read", timed("read", read))
    monkeypatch.setattr(CaseWriter, "write", timed("write", write))
    predict_files(predictor, str(scans[0].parent), tmp_path / "out", tasks="liver")
    spans = {
        kind: [(start, stop) for name, _, start, stop in seen if name == kind] for kind in ("read", "compute", "write")
    }
    for kind, number in (("read", 2), ("write", 0)):
        assert spans["compute"][1][0] < spans[kind][number][1] < spans["compute"][1][1] + 0.05
        assert spans[kind][number][0] < spans["compute"][1][1]


def test_a_bad_scan_is_refused_at_the_end_and_alone_tried_again(scans, tmp_path):
    whole = scans[1].read_bytes()
    scans[1].write_bytes(whole[:2000])
    console = Console(file=io.StringIO(), width=1000)
    with pytest.raises(
        InputError, match=r"case1\.nii\.gz: found .*1 of 3 scans refused, the others are finished.*; expected"
    ):
        predict_files(Predictor(small_model(TASKS)), scans[0].parent, tmp_path / "out", console=console)
    assert [line for line in console.file.getvalue().splitlines() if line.startswith("refused case1: ")]
    paths = {name: tmp_path / f"out/liver/{name}.nii.gz" for name in ("case0", "case2")}
    before = {name: path.stat().st_mtime_ns for name, path in paths.items()}
    assert not (tmp_path / "out/liver/case1.json").exists()
    scans[1].write_bytes(whole)
    assert len(predict_files(Predictor(small_model(TASKS)), scans[0].parent, tmp_path / "out")) == 6
    assert {name: path.stat().st_mtime_ns for name, path in paths.items()} == before


def test_all_refusals_are_listed(scans, tmp_path):
    for path in scans[:2]:
        path.write_bytes(b"")
    outcomes = predict_cases(Predictor(small_model(TASKS)), scans[0].parent, tmp_path / "out", tasks="liver")
    ends = [(outcome.case_id, len(outcome.paths), outcome.refusal is None) for outcome in outcomes]
    assert ends == [("case0", 0, False), ("case1", 0, False), ("case2", 1, True)]
    with pytest.raises(InputError, match=r"case0\.nii\.gz.*the first of 2 of 3 scans refused"):
        require_none_refused(outcomes)


def test_numbered_scans_are_cases_where_tasks_take_one_channel(scans, tmp_path):
    for number, path in enumerate(scans):
        path.rename(path.with_name(f"pancreas_{number:04d}.nii.gz"))
    paths = predict_files(Predictor(small_model(TASKS)), scans[0].parent, tmp_path / "out", tasks="liver")
    assert [path.name for path in paths] == [f"pancreas_{number:04d}.nii.gz" for number in range(3)]
    (alone,) = predict_files(
        Predictor(small_model(TASKS)), scans[0].with_name("pancreas_0001.nii.gz"), tmp_path / "alone", tasks="liver"
    )
    assert alone.name == "pancreas_0001.nii.gz"


def test_what_may_be_read_in_two_ways_is_asked_for(scans, tmp_path):
    for number, path in enumerate(scans[:2]):
        path.rename(path.with_name(f"a_{number:04d}.nii.gz"))
    scans[2].unlink()
    model = small_model(TaskSet([*TASKS, make_task("tumour", ("CT", "PET"), spacing_mm=(3, 1.5, 1.5))]))
    with pytest.raises(
        InputError,
        match=r"a_0000\.nii\.gz to a_0001\.nii\.gz, which may be 2 scans or the 2 channels of one; "
        r"expected .*modality=",
    ):
        predict_files(Predictor(model), scans[0].parent, tmp_path / "out")
    for how, names in (
        ({"modality": ["CT", "PET"]}, ["a"]),
        ({"modality": ["CT"], "tasks": "liver"}, ["a_0000", "a_0001"]),
        ({"tasks": "tumour"}, ["a"]),
    ):
        paths = predict_files(Predictor(model), scans[0].parent, tmp_path / "".join(names), **how)
        assert [path.name.removesuffix(".nii.gz") for path in paths] == names


def test_what_is_no_image_is_logged(scans, tmp_path):
    folder = scans[0].parent
    for name in ("notes.txt", "._case0.nii.gz", "case1.json", "dataset.json", ".DS_Store"):
        (folder / name).write_text("x")
    console = Console(file=io.StringIO(), width=1000)
    predict_files(Predictor(small_model(TASKS)), folder, tmp_path / "out", tasks="liver", console=console)
    assert "passed over: dataset.json, notes.txt (no image by name)" in console.file.getvalue().splitlines()


def test_a_doubtful_header_is_logged_and_comes_back(scans, tmp_path):
    image = nib.load(scans[0])
    elsewhere = AFFINE.copy()
    elsewhere[:3, 3] = 15, -8, 22
    image.set_qform(elsewhere, 1)
    nib.save(image, scans[0])
    lines = []
    runner = CaseRunner(Predictor(small_model(TASKS)), tmp_path, log=lines.append)
    (outcome,) = runner.run([(Case("case0", "case0", (scans[0],), None), {"liver": (scans[0],)})])
    (path,) = outcome.paths
    assert lines == ["case0: an sform unlike the qform; the sform is taken"]
    out = nib.load(path).header
    assert (int(out["sform_code"]), int(out["qform_code"])) == (2, 1)
    np.testing.assert_allclose(out.get_qform(), image.header.get_qform(), atol=1e-5)


def test_several_volumes_in_one_file_are_refused_by_its_name(scans, tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((22, 24, 20, 3), np.int16), AFFINE), scans[0])
    with pytest.raises(
        InputError, match=r"case0\.nii\.gz: found 3 volumes in one file; expected 1 for task 'liver' \(CT\)"
    ):
        predict_files(Predictor(small_model(TASKS)), str(scans[0]), tmp_path, tasks="liver")


def test_probabilities_are_those_of_the_labels(scans, tmp_path):
    (path,) = predict_files(Predictor(small_model(TASKS)), str(scans[0]), tmp_path, tasks="liver", probabilities=True)
    probabilities = nib.load(path.with_name("case0_probabilities.nii.gz"))
    values = probabilities.get_fdata()
    assert values.shape == (*labels(path).shape, 3)
    np.testing.assert_allclose(values.sum(-1), 1, atol=2 / 255)
    np.testing.assert_array_equal(probabilities.affine, nib.load(path).affine)
    ranked = np.sort(values, -1)
    sure = ranked[..., -1] - ranked[..., -2] > 1.5 / 255
    assert sure.mean() > 0.5
    np.testing.assert_array_equal(values.argmax(-1)[sure], labels(path)[sure])
    with pytest.raises(InputError, match="merge=true"):
        CaseRunner(Predictor(small_model(TASKS)), tmp_path, merge=True, probabilities=True)


def test_postprocessing_changes_the_files(scans, tmp_path):
    model = small_model(TASKS)
    raw = labels(predict_files(Predictor(model), str(scans[0]), tmp_path / "raw", tasks="spleen")[0])
    path = predict_files(
        Predictor(model, postprocessing={"spleen": {"spleen": ClassPostprocessing(largest=True)}}),
        str(scans[0]),
        tmp_path / "clean",
        tasks="spleen",
    )[0]
    filtered = labels(path)
    assert 0 < (filtered > 0).sum() < (raw > 0).sum()
    beside = json.loads(path.with_name("case0.json").read_text())
    assert beside["settings"]["cleanings"]["spleen"]["spleen"] == {"largest": True, "least_ml": 0.0}
    assert beside["volumes_ml"]["spleen"] == pytest.approx((filtered > 0).sum() * 1.5 * 1.5 * 3 / 1000, abs=1e-3)


@torch.inference_mode()
def test_an_ensemble_averages_scores(scans, tmp_path):
    """Of two networks that differ only in the sign of the head, scores cancel: ties are background."""
    one, other = small_model(TASKS, seed=1), small_model(TASKS, seed=1)
    for name, parameter in other.named_parameters():
        if name.startswith("head."):
            parameter.neg_()
    volume = read_volume([scans[0]])
    assert (Predictor(one).predict(volume, ["spleen"])["spleen"] > 0).any()
    both = Predictor([one, other]).predict(volume, ["spleen"])["spleen"]
    assert not both.any()
    twice = Predictor([one, one]).predict(volume, ["liver"])["liver"]
    np.testing.assert_array_equal(twice, Predictor(one).predict(volume, ["liver"])["liver"])
    with pytest.raises(InputError, match="network 1 of the ensemble: found other tasks"):
        Predictor([one, small_model(TaskSet(TASKS[:1]))])


def test_an_ensemble_is_one_folder(scans, tmp_path):
    models = [small_model(TASKS, seed=seed) for seed in (1, 2)]
    folder = save_ensemble(models, tmp_path / "both")
    loaded = load_ensemble(folder)
    volume = read_volume([scans[0]])
    expected = Predictor(models).predict(volume, ["liver"])["liver"]
    np.testing.assert_array_equal(Predictor(loaded).predict(volume, ["liver"])["liver"], expected)
    np.testing.assert_array_equal(Predictor.from_pretrained(folder).predict(volume, ["liver"])["liver"], expected)
    fine = InferenceSettings(overlap=0.75, mirror_axes=())
    by_path = Predictor.from_pretrained([folder / "member0", folder / "member1"], settings=fine)
    assert (by_path.settings, by_path.checkpoint_hash) == (fine, ensemble_hash(folder))
    assert Predictor.from_pretrained(folder).settings == InferenceSettings(mirror_axes=())
    assert ensemble_hash(folder) == "+".join(ensemble_hash(folder / f"member{k}") for k in range(2))
    with pytest.raises(InputError, match="that exists"):
        save_ensemble(models, folder)
    (folder / "ensemble.json").write_text("{}")
    with pytest.raises(InputError, match="list of an ensemble's members"):
        load_ensemble(folder)


def test_cases_are_read_by_name(scans, tmp_path):
    runner = CaseRunner(Predictor(small_model(TASKS)), tmp_path)
    done = list(
        runner.run(
            [(Case("a", "a", (scans[0],), None), {"liver": (scans[0],)}), (Case("b", "b", (scans[1],), None), None)]
        )
    )
    assert [[path.parent.name + "/" + path.name for path in outcome.paths] for outcome in done] == [
        ["liver/a.nii.gz"],
        ["liver/b.nii.gz", "spleen/b.nii.gz"],
    ]


@pytest.mark.parametrize("form", ["nrrd", "dicom_seg", "rtstruct"])
def test_every_format_holds_what_the_nifti_holds(tmp_path, form):
    if form == "dicom_seg":
        pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    array = np.random.default_rng(0).normal(1064, 150, (8, 24, 22)).clip(0, 4000)
    scan = save_slices(
        tmp_path / "ct", identified([dicom_slice(plane, AFFINE, k, intercept=-1024) for k, plane in enumerate(array)])
    )
    predictor = Predictor(small_model(TASKS), checkpoint_hash="abc")
    nifti = predict_files(predictor, scan, tmp_path / "out", tasks="liver", modality=["CT"])[0]
    (path,) = predict_files(predictor, scan, tmp_path / "out", tasks="liver", modality=["CT"], format=form)
    label, names = labels(nifti).T, TASKS[0].classes
    if form == "nrrd":
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), label)
    else:
        data = pydicom.dcmread(path)
        assert data.DeviceSerialNumber == "abc"
        parts = data.SegmentSequence if form == "dicom_seg" else data.StructureSetROISequence
        assert [part.get("SegmentLabel") or part.get("ROIName") for part in parts] == list(names[1:])
    if form == "dicom_seg":
        assert int(data.pixel_array.sum()) == int((label > 0).sum())
    facts = json.loads(path.with_name("ct.json").read_text())
    assert facts["classes"] == list(names)
    before = path.stat().st_mtime_ns
    predict_files(predictor, scan, tmp_path / "out", tasks="liver", modality=["CT"], format=form)
    assert path.stat().st_mtime_ns == before, "what is whole stays"


def test_a_format_that_cannot_be_written_is_refused_before_the_network(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(Predictor, "segment", lambda *_: pytest.fail("predicted"))
    with pytest.raises(InputError, match=r"case0\.nii\.gz: found no DICOM series for format=rtstruct"):
        predict_files(Predictor(small_model(TASKS)), str(scans[0]), tmp_path, modality=["CT"], format="rtstruct")
    monkeypatch.setattr("uniseg.inference.outputs.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"no highdicom installed; .*pip install 'uniseg\[dicom\]'"):
        predict_files(Predictor(small_model(TASKS)), str(scans[0]), tmp_path, format="dicom_seg")
    with pytest.raises(InputError, match=r"format: found 'png'; expected one of nifti, nrrd, dicom_seg, rtstruct"):
        predict_files(Predictor(small_model(TASKS)), str(scans[0]), tmp_path, format="png")


def test_one_of_several_series_is_predicted_under_its_number(tmp_path):
    array = np.random.default_rng(0).normal(1064, 150, (8, 24, 22)).clip(0, 4000)
    series = []
    for number, planes in ((3, array), (5, array[:6])):
        slices = identified([dicom_slice(plane, AFFINE, k, intercept=-1024) for k, plane in enumerate(planes)])
        for s in slices:
            s.SeriesNumber, s.SeriesInstanceUID = number, f"1.{number}"
        series += slices
    predictor, choices = Predictor(small_model(TASKS)), {"tasks": "liver", "modality": ["CT"], "series": "5"}
    scan = save_slices(tmp_path / "ct", series)
    (path,) = predict_files(predictor, scan, tmp_path / "out", **choices)
    assert (path.name, labels(path).shape[2]) == ("ct_series5.nii.gz", 6)
    (structures,) = predict_files(predictor, scan, tmp_path / "out", **choices, format="rtstruct")
    (reference,) = pydicom.dcmread(structures).ReferencedFrameOfReferenceSequence
    referenced = reference.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert (referenced.SeriesInstanceUID, len(referenced.ContourImageSequence)) == ("1.5", 6)
    before = path.stat().st_mtime_ns
    assert predict_files(predictor, scan, tmp_path / "out", **choices) == [path]
    assert path.stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"2 series: 3 '' \(8 slices, CT, 1\.3\); 5 ''"):
        predict_files(predictor, scan, tmp_path / "out", tasks="liver", modality=["CT"])


def test_the_bar_moves_within_a_scan(scans, tmp_path, monkeypatch):
    shown, update = [], Progress.update

    def record(self, bar, *, completed):
        shown.append(completed)
        update(self, bar, completed=completed)

    monkeypatch.setattr(Progress, "update", record)
    scans[2].unlink()
    predictor = Predictor(small_model(TASKS))
    predict_cases(predictor, scans[0].parent, tmp_path / "out", tasks="liver", console=Console(file=io.StringIO()))
    assert shown == sorted(shown)
    assert {int(each) for each in shown if each % 1} == {0, 1}, "within the first scan, within the second"
    assert shown[-1] == 2
    assert predictor.stopwatch.listener is None
