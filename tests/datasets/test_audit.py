"""What an audit finds over cases and over tasks."""

import pickle
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from samples import make_task, save_nifti
from uniseg.cache import build as pipeline
from uniseg.cache.build import audit, prepare, prune
from uniseg.cache.store import TaskCache
from uniseg.datasets.audit import AuditFinding, check_datasets, findings_table
from uniseg.datasets.case import Case
from uniseg.datasets.dataset import Dataset
from uniseg.datasets.labels import load_case
from uniseg.datasets.source import Source
from uniseg.datasets.splits import SplitTable
from uniseg.errors import InputError
from uniseg.preprocessing.fingerprint import CaseFingerprint, resolve
from uniseg.task import Normalization, TaskSet

TASK = make_task("liver", ("T2",))


def fingerprint(image_hash, class_ml=(10.0, 1.0), placed=True):
    return CaseFingerprint(1.0, np.ones((5, 1), np.float32), image_hash, class_ml, placed)


def dataset(name="liver", hashes=("h0", "h1", "h2"), patients=("p0", "p1", "p2"), **changes):
    """Three cases: for training, val, test."""
    ids = [f"{name}{i}" for i in range(3)]
    cases = {
        i: Case(i, f"set/{p}", (Path(f"{i}.nii.gz"),), Path(f"{i}_label.nii.gz"))
        for i, p in zip(ids, patients, strict=True)
    }
    splits = SplitTable((ids[2],), ((ids[1],),), (ids[0],), {i: case.patient_id for i, case in cases.items()})
    known = {i: fingerprint(h) for i, h in zip(ids, hashes, strict=True)}
    return replace(Dataset(replace(TASK, name=name), Source("manifest", Path(name)), cases, splits, known), **changes)


def summary(findings):
    return [(f.task, f.case_id, f.fatal) for f in findings]


def test_clean_data_have_no_findings():
    assert check_datasets([dataset(), dataset("spleen", ("s0", "s1", "s2"), ("q0", "q1", "q2"))]) == []


def test_one_scan_on_two_sides_is_fatal():
    findings = check_datasets([dataset(), dataset("spleen", ("s0", "s1", "h0"), ("q0", "q1", "q2"))])
    assert summary(findings) == [("spleen", "spleen2", True)]
    assert "'liver0' of 'liver' (train), here for test" in findings[0].found


def test_one_scan_in_two_tasks_on_one_side_is_in_order():
    assert check_datasets([dataset(), dataset("spleen", ("h0", "s1", "s2"), ("q0", "q1", "q2"))]) == []


def test_one_scan_twice_in_a_task_is_noted():
    assert summary(check_datasets([dataset(hashes=("h0", "h0", "h2"))])) == [("liver", "liver1", True)]
    splits = SplitTable(("liver2",), (("liver1",),), ("liver0", "liver3"), {f"liver{i}": f"set/p{i}" for i in range(4)})
    cases = {i: Case(i, p, (Path(i),), Path(i)) for i, p in splits.patients.items()}
    twice = dataset(splits=splits, cases=cases, fingerprints={f"liver{i}": fingerprint(f"h{i % 3}") for i in range(4)})
    assert summary(check_datasets([twice])) == [("liver", "liver3", False)]


def test_one_patient_on_two_sides_is_fatal():
    findings = check_datasets([dataset(), dataset("spleen", ("s0", "s1", "s2"), ("p2", "q1", "q2"))])
    assert [f.fatal for f in findings] == [True]
    assert "patient 'set/p2' in test of 'liver' and in train of 'spleen'" in findings[0].found


def test_empty_labels_lost_geometry_unused_classes_are_noted():
    known = {
        "liver0": fingerprint("h0", (0.0, 0.0)),
        "liver1": fingerprint("h1", (5.0, 0.0)),
        "liver2": fingerprint("h2", (5.0, 1.0), placed=False),
    }
    findings = check_datasets([dataset(fingerprints=known)])
    assert [(f.case_id, f.found, f.fatal) for f in findings] == [
        ("liver0", "no foreground", False),
        ("-", "class 'tumour' in none of 2 training cases", False),
        ("liver2", "1 mm voxels at the origin in 1 of 3 cases", False),
    ]
    absent = dataset().cases | {"liver0": Case("liver0", "set/p0", (Path("a"),), None, absent=True)}
    assert not [f for f in check_datasets([dataset(fingerprints=known, cases=absent)]) if f.found == "no foreground"]


def test_doubtful_headers_are_noted_once_a_kind():
    known = {f"liver{i}": replace(fingerprint(f"h{i}"), notes=("no orientation",) * (i > 0)) for i in range(3)}
    findings = check_datasets([dataset(fingerprints=known)])
    assert [(f.case_id, f.where, f.found, f.fatal) for f in findings] == [
        ("liver1", "liver1.nii.gz", "no orientation, in 2 of 3 cases", False)
    ]


def test_one_class_name_with_two_extents_is_noted():
    small = {f"spleen{i}": fingerprint(f"s{i}", (3.0 + i / 10, 1.0)) for i in range(3)}
    findings = check_datasets([dataset(), dataset("spleen", patients=("q0", "q1", "q2"), fingerprints=small)])
    assert [(f.task, f.found, f.fatal) for f in findings] == [
        ("spleen", "class 'liver': median 3.1 ml, but 10 ml in 'liver'", False)
    ]
    near = {f"spleen{i}": fingerprint(f"s{i}", (6.0, 1.0)) for i in range(3)}
    assert check_datasets([dataset(), dataset("spleen", patients=("q0", "q1", "q2"), fingerprints=near)]) == []


def test_the_table_puts_errors_first():
    known = {f"liver{i}": fingerprint(f"h{i}", (0.0, 0.0)) for i in range(3)}
    findings = check_datasets([dataset(fingerprints=known), dataset("spleen", ("h2", "s1", "s2"), ("q0", "q1", "q2"))])
    table = findings_table(findings)
    assert list(table.columns[0].cells)[:2] == ["error", "note"]


@pytest.fixture
def real(tmp_path):
    """Six cases on disk in nnU-Net's layout; returns (tasks, sources)."""
    root, rng = tmp_path / "raw", np.random.default_rng(0)
    root.mkdir()
    (root / "dataset.json").write_text('{"channel_names": {"0": "T2"}}')
    for i in range(6):
        save_nifti(
            root / "imagesTr" / f"c{i}_0000.nii.gz",
            rng.normal(100, 9, (6, 8, 8)).astype(np.float32),
            np.diag([1, 1, 2.0, 1]),
        )
        label = np.zeros((6, 8, 8), np.uint8)
        label[2:4, 2:6, 2:6], label[3, 3, 3] = 1, 2
        label[0] = 9
        save_nifti(root / "labelsTr" / f"c{i}.nii.gz", label, np.diag([1, 1, 2.0, 1]))
    splits = {"train": ["c0", "c1", "c2"], "val": ["c3"], "test": ["c4"]}
    return TaskSet([TASK]), {"liver": Source("nnunet", root, ignore=9, splits=splits)}


def test_findings_of_all_cases_come_at_once(real, capsys, tmp_path):
    tasks, sources = real
    for name in ("c0", "c3"):
        (sources["liver"].root / "imagesTr" / f"{name}_0000.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"audit: found 2 errors, first: .*c0_0000"):
        audit(tasks, sources, 1, tmp_path / "cache")
    table = capsys.readouterr().err
    assert "c0_0000" in table
    assert "c3_0000" in table
    assert not list((tmp_path / "cache").rglob("task.json"))


def test_a_doubtful_header_is_reported_by_every_audit_and_an_absurd_one_refused(real, capsys, tmp_path):
    tasks, sources = real
    path = sources["liver"].root / "imagesTr" / "c1_0000.nii.gz"
    image = nib.load(path)
    turned = np.diag([1, -1, 2.0, 1])
    image.set_qform(turned, 1)
    nib.save(image, path)
    for _ in range(2):
        audit(tasks, sources, 1, tmp_path / "cache")
        table = capsys.readouterr().err
        assert "note" in table
        assert "an sform unlike the qform" in table
        assert "in 1 of 5 cases" in table
    for folder, name in (("imagesTr", "c1_0000"), ("labelsTr", "c1")):
        path = sources["liver"].root / folder / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), np.diag([1000, 1000, 1000, 1])), path)
    with pytest.raises(InputError, match=r"c1_0000\.nii\.gz: found 8 x 8 x 6 voxels of 1000 x 1000 x 1000 mm"):
        audit(tasks, sources, 1, tmp_path / "cache")


def test_a_dry_audit_writes_nothing(real, tmp_path):
    tasks, sources = real
    before = sorted(tmp_path.rglob("*"))
    assert sorted(audit(tasks, sources, 1)[0].fingerprints) == ["c0", "c1", "c2", "c3", "c4"]
    assert sorted(tmp_path.rglob("*")) == before


def test_finished_work_is_kept_and_changed_settings_rebuild_what_they_touch(real, tmp_path):
    _, sources = real
    cache = tmp_path / "cache"

    def run(spacing_mm):
        planned = TaskSet([replace(TASK, spacing_mm=spacing_mm)])
        prepare(audit(planned, sources, 1, cache), cache, 1)
        return {
            path: path.stat().st_mtime_ns
            for path in cache.rglob("*")
            if path.is_file() and path.name not in ("task.json", "splits.json")
        }

    first = run((2, 1, 1))
    assert len([path for path in first if path.name == "case.json"]) == 4  # not the one for test
    assert run((2, 1, 1)) == first
    image = sources["liver"].root / "imagesTr" / "c1_0000.nii.gz"
    save_nifti(image, np.full((6, 8, 8), 50.0, np.float32), np.diag([1, 1, 2.0, 1]))
    second = run((2, 1, 1))
    assert {path: second[path] for path in first if "fingerprints" not in path.parts} == {
        p: t for p, t in first.items() if "fingerprints" not in p.parts
    }
    assert {path.parts[-3] for path in set(second) - set(first)} == {"c1"}
    run((2, 2, 2))
    assert "5 cached cases" in prune(cache, ["liver"], remove=False)
    assert "removed" in prune(cache, ["liver"], remove=True)
    assert prune(cache, ["liver"], remove=True) == ""
    assert len(list(cache.rglob("case.json"))) == 4


def test_a_wrong_number_of_training_cases_is_noted(real, capsys):
    tasks, sources = real
    (sources["liver"].root / "dataset.json").write_text('{"channel_names": {"0": "T2"}, "numTraining": 7}')
    audit(tasks, sources, 1)
    assert "numTraining 7" in capsys.readouterr().err
    (sources["liver"].root / "dataset.json").write_text('{"channel_names": {"0": "T2"}, "numTraining": 6}')
    audit(tasks, sources, 1)
    assert "numTraining" not in capsys.readouterr().err


def test_ignored_voxels_are_marked(real):
    tasks, sources = real
    case = next(iter(audit(tasks, sources, 1)[0].cases.values()))
    _, label = load_case(TASK, sources["liver"], case)
    assert sorted(np.unique(label)) == [-1, 0, 1, 2]
    assert (label == -1).sum() == 64
    with pytest.raises(InputError, match=r"label values \[9\]; expected values \[0, 1, 2\]"):
        load_case(TASK, replace(sources["liver"], ignore=None), case)


def test_a_label_that_is_ignored_everywhere_is_refused(real):
    tasks, sources = real
    case = next(iter(audit(tasks, sources, 1)[0].cases.values()))
    save_nifti(case.label_path, np.full((6, 8, 8), 9, np.uint8), np.diag([1, 1, 2.0, 1]))
    with pytest.raises(InputError, match="found value 9 everywhere; expected a voxel that is not ignored"):
        load_case(TASK, sources["liver"], case)


def test_another_recipe_makes_cases_anew_and_the_old_ones_still_train(real, tmp_path, monkeypatch):
    tasks, sources = real
    cache = tmp_path / "cache"
    prepare(audit(tasks, sources, 1, cache), cache, 1)
    before = TaskCache(cache / "liver")
    monkeypatch.setattr(pipeline, "RECIPE", pipeline.RECIPE + 1)
    prepare(audit(tasks, sources, 1, cache), cache, 1)
    after = TaskCache(cache / "liver")
    assert not {entry.key for entry in before.entries.values()} & {entry.key for entry in after.entries.values()}
    assert before.read_box("c0", (0, 0, 0), (2, 2, 2))[0].shape == (1, 2, 2, 2)


def test_a_label_map_names_every_value(real):
    """1 is mapped to 2; a stray 2 must not pass for it."""
    tasks, sources = real
    case = next(iter(audit(tasks, sources, 1)[0].cases.values()))
    with pytest.raises(InputError, match=r"label values \[2\]; expected values \[0, 1, 9\]"):
        load_case(TASK, replace(sources["liver"], label_map={1: 2}), case)
    _, label = load_case(TASK, replace(sources["liver"], label_map={1: 2, 2: 1}), case)
    assert (label[2, 2, 2], label[3, 4, 4]) == (2, 1)  # a file in RAS is turned about Y and X


def test_a_scan_of_another_kind_is_noted_once_per_kind():
    known = {f"liver{i}": replace(fingerprint(f"h{i}"), kinds=("CT" if i else "",)) for i in range(3)}
    (finding,) = check_datasets([dataset(fingerprints=known)])
    assert (finding.case_id, finding.fatal) == ("liver1", False)
    assert finding.found == "values as of CT in 2 of 3 cases (liver1, liver2)"
    assert finding.expected == "MR, as modality 'T2' is"


def test_markup_in_names_is_text():
    found = AuditFinding("[/x]", "[bold]a[/]", "a\\", "[red", "\x1b[31m", "$\\frac$", fatal=False)
    console = Console(width=240)
    with console.capture() as capture:
        console.print(findings_table([found]))
    for text in ("[/x]", "[bold]a[/]", "a\\", "[red", "?[31m", "$\\frac$"):
        assert text in capture.get()


def test_a_spacing_that_no_machine_can_hold_is_refused_by_case(real, tmp_path, monkeypatch):
    _, sources = real
    for spacing in ((1e-4, 1, 1), (0.002, 0.002, 0.002)):
        with pytest.raises(
            InputError, match=r"5 errors, first: .*c0_0000.*voxels for 12 x 8 x 8 mm at the task's spacing"
        ):
            audit(TaskSet([replace(TASK, spacing_mm=spacing)]), sources, 1, tmp_path / "cache")
    monkeypatch.setattr("uniseg.cache.build.require_extent", lambda *_: None)  # what an earlier version had measured
    datasets = audit(TaskSet([replace(TASK, spacing_mm=(1e-4, 1, 1))]), sources, 1, tmp_path / "cache")
    with pytest.raises(InputError, match=r"task 'liver': found .* voxels"):
        prepare(datasets, tmp_path / "cache", 1)
    assert not list((tmp_path / "cache").rglob(".part*"))


def test_the_advice_about_an_empty_label_works(real, capsys):
    tasks, sources = real
    root = sources["liver"].root
    save_nifti(root / "labelsTr" / "c1.nii.gz", np.zeros((6, 8, 8), np.uint8), np.diag([1, 1, 2.0, 1]))
    audit(tasks, sources, 1)
    assert "list the case in source.absent if it has none" in capsys.readouterr().err
    listed = {"liver": replace(sources["liver"], absent=("c1",))}
    audit(tasks, listed, 1)
    assert "no foreground" not in capsys.readouterr().err
    with pytest.raises(
        InputError, match=r"c2\.nii\.gz: found 3. voxels of a target; .* take the case out of source\.absent"
    ):
        audit(tasks, {"liver": replace(listed["liver"], absent=("c2",))}, 1)


def test_missing_foreground_names_task_with_modality():
    task = replace(
        make_task("liver", ("T2", "CT")), normalization=(Normalization("zscore"), Normalization("fingerprint"))
    )
    known = CaseFingerprint(1.0, np.zeros((0, 2), np.float32), "h", (0.0, 0.0), True)
    with pytest.raises(InputError, match="task 'liver', modality 'CT': found no foreground voxel in any training case"):
        resolve(task, [known])


def test_errors_of_workers_arrive_whole(real):
    tasks, sources = real
    (sources["liver"].root / "imagesTr" / "c0_0000.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"audit: found 1 error, first: .*c0_0000") as caught:
        audit(tasks, sources, 1)
    sent = pickle.loads(pickle.dumps(caught.value))  # as between processes
    assert (str(sent), sent.where, sent.fix) == (str(caught.value), "audit", "see the table above")


def test_what_lies_in_the_same_cache_is_looked_at_too(real, tmp_path, capsys):
    """Fatal in training, a note in preparation, since nobody may want to train the two together."""
    tasks, sources = real
    prepare(audit(tasks, sources, 1, tmp_path / "cache"), tmp_path / "cache", 1)
    other = TaskSet([replace(TASK, name="spleen")])
    splits = {"train": ["c4", "c1"], "val": ["c3"], "test": ["c2"]}
    capsys.readouterr()
    source = replace(sources["liver"], splits=splits, patient_namespace="other")
    prepare(audit(other, {"spleen": source}, 1, tmp_path / "cache"), tmp_path / "cache", 1)
    output = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "2 findings" in output
    assert "the voxels of 'c4' of 'liver' (test), here for train" in output
    assert "the voxels of 'c2' of 'liver' (train), here for test" in output
    (tmp_path / "cache/liver/task.json").write_text("{")
    audit(other, {"spleen": source}, 1, tmp_path / "cache")
    assert "findings" not in capsys.readouterr().err


def test_two_folders_of_one_name_are_noted():
    one = dataset()
    two = replace(dataset("spleen", ("s0", "s1", "s2")), source=Source("manifest", Path("elsewhere/liver")))
    (finding,) = check_datasets([one, two])
    assert (finding.task, finding.fatal) == ("spleen", False)
    assert finding.found == "3 patients called as those of 'liver' in liver ('set/p0')"
    assert "source.patient_namespace" in finding.fix
    stated = replace(two, source=replace(two.source, patient_namespace="ward"))
    assert check_datasets([one, stated]) == check_datasets([one, replace(two, source=one.source)]) == []
