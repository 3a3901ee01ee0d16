"""A damaged cache is mended by preparation; what is whole is kept; what is damaged ends a training in one line."""

import json
import os
import resource
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest

from samples import make_task, save_nifti
from uniseg.cache import case_folder
from uniseg.cache.build import audit, prepare, prune
from uniseg.cache.store import CaseEntry, TaskCache, read_entry, write_case, write_task
from uniseg.datasets.source import Source
from uniseg.datasets.splits import SplitTable
from uniseg.errors import InputError
from uniseg.task import TaskSet

TASK = make_task("liver", ("T2",))
NAMES = ("c0", "c1", "c2", "c3", "c4")
SHAPE = (6, 8, 8)
AFFINE = np.diag([1, 1, 2.0, 1])


def prepare_in(folder):
    tasks = TaskSet([TASK])
    splits = {"train": ["c0", "c1", "c2"], "val": ["c3"], "test": ["c4"]}
    prepare(
        audit(tasks, {"liver": Source("nnunet", folder / "raw", splits=splits)}, 1, folder / "cache"),
        folder / "cache",
        1,
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Five small cases, prepared."""
    folder, rng = tmp_path_factory.mktemp("first"), np.random.default_rng(0)
    for name in NAMES:
        save_nifti(folder / f"raw/imagesTr/{name}_0000.nii.gz", rng.normal(100, 9, SHAPE).astype(np.float32), AFFINE)
        label = np.zeros(SHAPE, np.uint8)
        label[2:4, 2:6, 2:6], label[3, 3, 3] = 1, 2
        save_nifti(folder / f"raw/labelsTr/{name}.nii.gz", label, AFFINE)
    (folder / "raw/dataset.json").write_text('{"channel_names": {"0": "T2"}}')
    prepare_in(folder)
    return folder


@pytest.fixture
def prepared(first, tmp_path):
    """A copy of it; returns (the task's folder in the cache, prepare it again)."""
    shutil.copytree(first, tmp_path / "copy")
    return tmp_path / "copy/cache/liver", lambda: prepare_in(tmp_path / "copy")


def content(folder):
    """Everything that a training reads."""
    cache = TaskCache(folder)
    boxes = {case_id: cache.read_box(case_id, (0, 0, 0), entry.shape) for case_id, entry in cache.entries.items()}
    return (
        cache.task,
        cache.splits,
        {case_id: (image.tobytes(), label.tobytes()) for case_id, (image, label) in boxes.items()},
        {case_id: {k: voxels.tolist() for k, voxels in cache.foreground(case_id).items()} for case_id in cache.entries},
    )


def forget():
    case_folder.open_arrays.cache_clear()
    case_folder.read_remembered.cache_clear()


def stamps(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.name in ("image.b2nd", "label.b2nd", "foreground.npy", "case.json")
    }


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def flip(path):
    values = bytearray(path.read_bytes())
    values[len(values) // 2] ^= 0xFF
    path.write_bytes(bytes(values))


def become_a_folder_less(path):
    shutil.rmtree(path.parent)
    path.parent.write_text("a file where the case was")


def take_another(path):
    other = next(p for p in path.parents[2].glob(f"*/*/{path.name}") if p != path)
    shutil.copy(other, path)


def other_shape(path):
    path.with_name("case.json").write_text(
        json.dumps(json.loads(path.with_name("case.json").read_text()) | {"shape": [6, 8, 7]})
    )


DAMAGE = {
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "zeros of the same size": zero,
    "one byte": flip,
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "gone": lambda path: path.unlink(),
    "of another case": take_another,
    "folder is a file": become_a_folder_less,
    "folder is empty": lambda path: [other.unlink() for other in path.parent.iterdir()],
    "another shape in the description": other_shape,
}


PARTS = ("label.b2nd", "foreground.npy", "case.json")
CASES = [
    *(("image.b2nd", how) for how in DAMAGE),
    *((part, how) for part in PARTS for how in ("cut", "one byte", "gone")),
]


@pytest.mark.parametrize(("part", "how"), CASES)
def test_prepare_mends_every_damage_and_leaves_the_rest(prepared, part, how):
    folder, run = prepared
    whole = content(folder)
    (path,) = folder.glob(f"c1/*/{part}")
    others = {p: t for p, t in stamps(folder).items() if "c1" not in p.parts}
    DAMAGE[how](path)
    run()
    forget()
    assert content(folder) == whole
    assert others.items() <= stamps(folder).items()
    assert not list(folder.rglob(".part*"))


@pytest.mark.parametrize("name", ["task.json", "splits.json"])
@pytest.mark.parametrize("how", ["cut", "zeros of the same size", "gone"])
def test_a_damaged_description_is_one_line_and_written_anew(prepared, name, how):
    folder, run = prepared
    whole = content(folder)
    DAMAGE[how](folder / name)
    with pytest.raises(InputError, match=rf"{name}: found .*; run uniseg prepare"):
        TaskCache(folder)
    run()
    assert content(folder) == whole


@pytest.mark.parametrize("how", ["cut", "empty", "zeros of the same size", "one byte"])
def test_a_damaged_fingerprint_is_measured_anew(prepared, how):
    folder, run = prepared
    path = folder / "fingerprints" / "c1.npz"
    before = np.load(path)["samples"]
    DAMAGE[how](path)
    run()
    np.testing.assert_array_equal(np.load(path)["samples"], before)


def test_a_copied_cache_and_one_without_record_are_kept(prepared):
    folder, run = prepared
    for path in folder.glob("*/*/*.b2nd"):
        os.utime(path, (1, 1))
    (old,) = folder.glob("c2/*/case.json")
    values = json.loads(old.read_text())
    assert set(values.pop("parts")) == {"image.b2nd", "label.b2nd", "foreground.npy"}
    old.write_text(json.dumps(values))
    before = stamps(folder)
    run()
    assert stamps(folder) == before


@pytest.mark.parametrize("part", ["image.b2nd", "label.b2nd", "foreground.npy"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_case_without_record_has_to_open(prepared, part, how):
    folder, run = prepared
    whole = content(folder)
    (case,) = folder.glob("c1/*/case.json")
    case.write_text(json.dumps({key: value for key, value in json.loads(case.read_text()).items() if key != "parts"}))
    DAMAGE[how](case.with_name(part))
    run()
    forget()
    assert content(folder) == whole


def test_a_file_cut_short_under_a_training_is_one_line(prepared):
    folder, _ = prepared
    cache = TaskCache(folder)
    rng = np.random.default_rng(0)
    entry = CaseEntry("big", "raw/big", (64, 96, 96), "k")
    write_case(
        folder, entry, rng.normal(size=(1, *entry.shape)).astype(np.float32), np.ones(entry.shape, np.int16), TASK
    )
    cache.entries["big"] = entry
    cache.read_box("big", (0, 0, 0), (8, 8, 8))
    for part in ("image.b2nd", "label.b2nd"):
        os.truncate(folder / "big" / "k" / part, 4096 if part == "image.b2nd" else 16)
    with pytest.raises(InputError, match=r"big/k: found RuntimeError while reading; .* run uniseg prepare"):
        cache.read_box("big", (0, 0, 0), entry.shape)


def test_what_another_writer_finished_is_kept_and_what_he_broke_is_not(tmp_path):
    entry, image, label = (
        CaseEntry("a", "set/a", SHAPE, "k1"),
        np.ones((1, *SHAPE), np.float32),
        np.zeros(SHAPE, np.int16),
    )
    for _ in range(2):
        write_case(tmp_path, entry, image, label, TASK)
    first = stamps(tmp_path)
    write_case(tmp_path, entry, image, label, TASK)
    assert stamps(tmp_path) == first
    cut(tmp_path / "a/k1/image.b2nd")
    assert read_entry(tmp_path, "a", "k1") is None
    write_case(tmp_path, entry, image, label, TASK)
    assert read_entry(tmp_path, "a", "k1") == entry
    assert read_entry(tmp_path, "a", "k1", num_modalities=2) is None


def test_no_room_leaves_nothing_and_names_the_file(tmp_path):
    entry, rng = CaseEntry("a", "set/a", (32, 64, 64), "k1"), np.random.default_rng(0)
    image, label = rng.normal(size=(1, *entry.shape)).astype(np.float32), np.zeros(entry.shape, np.int16)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"image\.b2nd") as caught:
            write_case(tmp_path, entry, image, label, TASK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.filename.endswith("image.b2nd")
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 66000, -66000])
def test_an_image_with_nan_or_infinity_is_not_cached(tmp_path, value):
    image = np.ones((1, *SHAPE), np.float32)
    image[0, 0, 0, 0] = value
    with pytest.raises(
        InputError, match=r"task 'liver', case 'a': found 1 voxels of NaN or beyond 65504 after normalisation"
    ):
        write_case(tmp_path, CaseEntry("a", "set/a", SHAPE, "k1"), image, np.zeros(SHAPE, np.int16), TASK)
    assert not list(tmp_path.rglob("*"))


CHANGES = [
    ("task.json", lambda d: d | {"format": [2]}),
    ("task.json", lambda d: d | {"cases": "abc"}),
    ("task.json", lambda d: d | {"cases": [d["cases"][0] | {"case_id": "../c0"}]}),
    ("task.json", lambda d: d | {"cases": [d["cases"][0] | {"shape": [1, 2]}]}),
    ("task.json", lambda d: d | {"cases": d["cases"][1:]}),
    ("task.json", lambda d: d | {"image_hashes": 7}),
    ("task.json", lambda d: d | {"task": d["task"] | {"classes": "ab"}}),
    ("task.json", lambda d: d | {"task": d["task"] | {"classes": [1, 2]}}),
    ("task.json", lambda d: d | {"task": d["task"] | {"spacing_mm": ["1", 1, 1]}}),
    ("task.json", lambda d: d | {"task": d["task"] | {"normalization": [{"mode": "zscore"}]}}),
    ("task.json", lambda d: d | {"task": None}),
    ("splits.json", lambda d: d | {"folds": 3}),
    ("splits.json", lambda d: d | {"rest": "abc"}),
    ("splits.json", lambda d: d | {"test": ["nobody"]}),
    ("splits.json", lambda d: d | {"patients": dict.fromkeys(NAMES, 1)}),
]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=map(str, range(len(CHANGES))))
def test_a_changed_description_is_one_line(prepared, name, change):
    folder, _ = prepared
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=r"(task|splits)\.json: found .*run uniseg prepare"):
        TaskCache(folder)


def test_the_hashes_of_all_scans_are_known_in_old_caches_too(prepared):
    folder, _ = prepared
    hashes = TaskCache(folder).image_hashes
    assert sorted(hashes) == list(NAMES)
    path = folder / "task.json"
    path.write_text(
        json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "image_hashes"})
    )
    assert TaskCache(folder).image_hashes == hashes


def test_a_task_is_closed_over_cases_that_are_there(tmp_path):
    entry = CaseEntry("a", "set/a", SHAPE, "k1")
    write_case(tmp_path, entry, np.ones((1, *SHAPE), np.float32), np.zeros(SHAPE, np.int16), TASK)
    with pytest.raises(InputError, match="a case that is gone"):
        write_task(tmp_path, TASK, [replace(entry, key="k2")], SplitTable((), (("a",),), (), {"a": "set/a"}))


def test_what_killed_writers_left_is_removed_after_a_day(prepared):
    folder, _ = prepared
    assert prune(folder.parent, ["liver"], remove=True) == ""
    young, files = folder / "c1/.part_young", [folder / ".part1_task.json", folder / "fingerprints/.part1_c1.npz"]
    old = folder / "c1/.part_old"
    for path in (young, old):
        path.mkdir()
        (path / "image.b2nd").write_text("half")
    for path in files:
        path.write_text("half")
    for path in (old, *files):
        os.utime(path, (1, 1))
    assert "3 cached cases" in prune(folder.parent, ["liver"], remove=True)
    assert sorted(folder.rglob(".part*")) == [young]


def test_a_cached_case_may_be_read_by_whom_its_folder_lets(tmp_path):
    tmp_path.chmod(0o755)
    write_case(
        tmp_path,
        CaseEntry("a", "set/a", SHAPE, "k1"),
        np.ones((1, *SHAPE), np.float32),
        np.zeros(SHAPE, np.int16),
        TASK,
    )
    assert (tmp_path / "a").stat().st_mode & 0o777 == (tmp_path / "a/k1").stat().st_mode & 0o777 == 0o755
