"""What is written comes back; what a request wants is what it gets."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from samples import make_task
from uniseg.cache.store import (
    CaseEntry,
    TaskCache,
    read_entry,
    read_fingerprint,
    superseded,
    write_case,
    write_fingerprint,
    write_task,
)
from uniseg.datasets.splits import SplitTable
from uniseg.errors import InputError
from uniseg.images.volume import Volume
from uniseg.preprocessing.fingerprint import CaseFingerprint, measure, resolve
from uniseg.preprocessing.preprocess import crop, nonzero_box, preprocess
from uniseg.sampling.patches import PatchReader, make_batch, patch_start
from uniseg.sampling.requests import PatchRequest
from uniseg.task import Normalization

SHAPE = (20, 40, 37)


@pytest.fixture
def cache(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, *SHAPE)).astype(np.float32)
    label = np.zeros(SHAPE, np.int16)
    label[5:9, 30:36, 2:8] = 1
    label[15, 3, 33] = 2
    folder, entry = tmp_path / "liver", CaseEntry("a", "set/a", SHAPE, "k1")
    write_case(folder, entry, image, label, make_task())
    write_task(folder, make_task(), [entry], SplitTable((), (("a",),), (), {"a": "set/a"}))
    return TaskCache(folder), image, label


def request(**changes):
    return replace(PatchRequest(0, "a", 3, False, None, 0, 0), **changes)


def test_boxes_come_back(cache):
    task_cache, image, label = cache
    assert task_cache.task == make_task()
    assert task_cache.entries["a"].shape == SHAPE
    box_image, box_label = task_cache.read_box("a", (3, 10, 0), (12, 40, 9))
    np.testing.assert_allclose(box_image, image[:, 3:12, 10:40, :9], atol=2e-3)
    np.testing.assert_array_equal(box_label, label[3:12, 10:40, :9])


def test_foreground_is_remembered_per_class(cache):
    foreground = cache[0].foreground("a")
    assert sorted(foreground) == [1, 2]
    assert foreground[2].tolist() == [[15, 3, 33]]
    assert (cache[2][tuple(foreground[1].T)] == 1).all()


def test_foreground_of_regions_is_their_union(tmp_path):
    label = np.zeros((4, 4, 4), np.int16)
    label[1, 1, :2] = 1, 2
    task = make_task("tumour", classes=("background", "whole", "core"), regions=((1, 2), (2,)))
    entry = CaseEntry("a", "set/a", label.shape, "k1")
    write_case(tmp_path, entry, np.zeros((1, 4, 4, 4), np.float32), label, task)
    write_task(tmp_path, task, [entry], SplitTable((), (("a",),), (), {"a": "set/a"}))
    foreground = TaskCache(tmp_path).foreground("a")
    assert {k: voxels.tolist() for k, voxels in foreground.items()} == {1: [[1, 1, 0], [1, 1, 1]], 2: [[1, 1, 1]]}


def write(folder, label, image=None):
    entry = CaseEntry("a", "set/a", label.shape, "k1")
    image = np.zeros((1, *label.shape), np.float32) if image is None else image
    task = make_task(classes=("background", *(f"class{k}" for k in range(1, max(2, label.max() + 1)))))
    write_case(folder, entry, image, label, task)
    write_task(folder, task, [entry], SplitTable((), (("a",),), (), {"a": "set/a"}))
    return TaskCache(folder)


def test_as_many_voxels_are_remembered_as_nnunet_does(tmp_path):
    """10,000 per class or 1 %, whichever is more, each once; all where there are fewer."""
    label = np.zeros((120, 130, 140), np.int16)
    label[:100], label[100:110], label[110, 0, :7] = 1, 2, 3
    foreground = write(tmp_path, label).foreground("a")
    assert {k: len(voxels) for k, voxels in foreground.items()} == {1: 18_200, 2: 10_000, 3: 7}
    for k, voxels in foreground.items():
        assert (label[tuple(voxels.T)] == k).all()
        assert len(np.unique(voxels, axis=0)) == len(voxels)
    assert foreground[1].mean(0) == pytest.approx((49.5, 64.5, 69.5), abs=2)


def test_free_patches_lie_where_there_are_labels(tmp_path):
    """As in nnU-Net where a label is ignored: a patch anywhere of a sparsely annotated case would mostly hold nothing
    to learn from.
    """
    label = np.full(SHAPE, -1, np.int16)
    label[3, 30:34, 5:9] = 0
    cache = write(tmp_path, label)
    assert cache.foreground("a") == {}
    assert sorted(map(tuple, cache.annotated("a")[0])) == sorted(map(tuple, np.argwhere(label == 0)))
    reader = PatchReader([cache], (4, 8, 8))
    for forced in (False, True):
        for seed in range(20):
            assert (reader.read(request(seed=seed, force_foreground=forced))[1] == 0).any()
    label[3, 30, 5] = 1
    cache = write(tmp_path / "with foreground", label)
    assert {k: len(voxels) for k, voxels in cache.foreground("a").items()} == {1: 1}
    assert len(cache.annotated("a")[0]) == 16


def test_a_case_that_is_labelled_whole_has_free_patches_anywhere(cache):
    assert cache[0].annotated("a") == {}


@pytest.mark.parametrize("highest", [1, 127, 128, 300])
def test_label_values_come_back_whatever_their_number(tmp_path, highest):
    label = np.zeros((3, 4, 5), np.int16)
    label[0], label[1, 1, 1], label[2, 2, 2] = highest, -1, min(highest, 126)
    np.testing.assert_array_equal(write(tmp_path, label).read_box("a", (0, 0, 0), label.shape)[1], label)


def test_a_case_is_found_only_with_its_own_key(cache):
    folder = cache[0].folder
    assert read_entry(folder, "a", "k1") == cache[0].entries["a"]
    assert read_entry(folder, "a", "k2") is None
    assert read_entry(folder, "b", "k1") is None


def test_a_second_writer_with_other_settings_leaves_the_first_alone(cache):
    task_cache, image, label = cache
    folder, other = task_cache.folder, CaseEntry("a", "set/a", SHAPE, "k2")
    write_case(folder, other, image + 1, label, make_task())
    write_case(folder, other, image + 2, label, make_task())  # the one that comes late is dropped
    np.testing.assert_allclose(task_cache.read_box("a", (0, 0, 0), SHAPE)[0], image, atol=2e-3)
    write_task(folder, make_task(), [other], SplitTable((), (("a",),), (), {"a": "set/a"}))
    np.testing.assert_allclose(task_cache.read_box("a", (0, 0, 0), SHAPE)[0], image, atol=2e-3)
    np.testing.assert_allclose(TaskCache(folder).read_box("a", (0, 0, 0), SHAPE)[0], image + 1, atol=4e-3)
    assert superseded(folder) == [folder / "a" / "k1"]
    assert not list(folder.rglob(".part*"))


def test_a_cache_that_lost_a_case_is_not_closed(tmp_path):
    with pytest.raises(InputError, match="a case that is gone"):
        write_task(
            tmp_path, make_task(), [CaseEntry("a", "set/a", SHAPE, "k1")], SplitTable((), (("a",),), (), {"a": "set/a"})
        )
    assert not (tmp_path / "task.json").exists()


def test_a_cache_works_anywhere_without_being_written(cache, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(cache[0].folder, moved)
    for path in [*moved.rglob("*"), moved]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in moved.rglob("*")}
    image, _ = TaskCache(moved).read_box("a", (0, 0, 0), SHAPE)
    np.testing.assert_allclose(image, cache[1], atol=2e-3)
    assert {path: path.stat().st_mtime_ns for path in moved.rglob("*")} == before


def test_fingerprints_come_back_for_the_same_key_only(tmp_path):
    fingerprint = CaseFingerprint(
        0.5, np.arange(6, dtype=np.float32).reshape(3, 2), "abc", (1.5, 0.0), True, ("a note",)
    )
    write_fingerprint(tmp_path, "a", "k1", fingerprint)
    back = read_fingerprint(tmp_path, "a", "k1")
    np.testing.assert_array_equal(back.samples, fingerprint.samples)
    assert replace(back, samples=fingerprint.samples) == fingerprint
    assert read_fingerprint(tmp_path, "a", "k2") is None
    assert read_fingerprint(tmp_path, "b", "k1") is None


def test_a_folder_that_was_not_prepared_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"task\.json: found No such file"):
        TaskCache(tmp_path)


def test_a_forced_patch_holds_foreground(cache):
    label, foreground = cache[2], cache[0].foreground("a")
    classes = set()
    for seed in range(20):
        start = patch_start(SHAPE, foreground, seed, (8, 16, 16))
        inside = label[tuple(slice(s, s + p) for s, p in zip(start, (8, 16, 16), strict=True))]
        assert inside.any()
        classes |= set(np.unique(inside)) - {0}
    assert classes == {1, 2}


def test_free_patches_reach_every_corner(cache):
    starts = np.array([patch_start(SHAPE, {}, seed, (8, 16, 16)) for seed in range(400)])
    assert starts.min(0).tolist() == [0, 0, 0]
    assert starts.max(0).tolist() == [12, 24, 21]


def test_a_small_case_is_padded_with_zeros(cache):
    reader = PatchReader([cache[0]], (32, 48, 48))
    ((image, label),) = reader.__getitems__([request()]).boxes()
    assert image.shape == (1, 32, 48, 48)
    assert label.sum() == cache[2].sum()
    np.testing.assert_allclose(image.square().sum(), (cache[1] ** 2).sum(), rtol=1e-3)


def test_the_same_request_gives_the_same_patch(cache):
    reader = PatchReader([cache[0]], (8, 16, 16))
    first, second = (reader.__getitems__([request(seed=9, force_foreground=True)]) for _ in range(2))
    assert torch.equal(first.images[0], second.images[0])
    batch = make_batch(first, (8, 16, 16))
    assert batch.image.shape == (1, 1, 8, 16, 16)
    assert batch.label.dtype == torch.int16
    assert batch.task.tolist() == [0]


def test_the_fingerprint_by_hand():
    image = np.zeros((1, 4, 4, 4), np.float32)
    image[0, :2] = np.arange(32).reshape(2, 4, 4) + 1
    label = (image[0] > 16).astype(np.int16)
    fingerprint = measure(Volume(image, (1, 1, 1), np.eye(4)), label, make_task())
    assert fingerprint.crop_ratio == 0.5
    values, counts = np.unique(fingerprint.samples, return_counts=True)
    assert values.tolist() == list(range(17, 33))
    assert counts == pytest.approx(10_000 / 16, rel=0.15)
    assert fingerprint.class_ml == pytest.approx((0.016, 0))
    assert not fingerprint.placed
    assert measure(Volume(image, (1, 1, 2), np.diag([1.0, 1, 2, 1])), label, make_task()).placed
    task = make_task(modalities=("T2",)).resolve([Normalization("zscore")])
    assert resolve(task, [fingerprint]).normalization[0].masked is True
    scheme = resolve(task.resolve([Normalization("fingerprint")]), [fingerprint]).normalization[0]
    assert (scheme.mean, scheme.sd) == pytest.approx((24.5, np.arange(17, 33).std()), rel=0.01)
    assert (scheme.lower, scheme.upper) == (17, 32)


def test_a_small_target_counts_as_much_as_a_large_one():
    """As in nnU-Net, which draws with replacement: else a lesion of few voxels would hardly count beside the liver."""

    def case(value, number):
        image, label = np.full((1, 40, 40, 40), value, np.float32), np.zeros((40, 40, 40), np.int16)
        label.reshape(-1)[:number] = 1
        return measure(Volume(image, (1, 1, 1), np.eye(4)), label, make_task())

    task = make_task().resolve([Normalization("fingerprint")])
    assert resolve(task, [case(100, 20), case(200, 50_000)]).normalization[0].mean == pytest.approx(150)
    assert resolve(task, [case(100, 20), case(200, 0)]).normalization[0].mean == pytest.approx(100)


def test_preprocess_crops_then_resamples():
    image = np.zeros((1, 6, 8, 8), np.float32)
    image[0, 1:5, 2:6, 2:8] = 325
    prepared = preprocess(Volume(image, (2, 1, 1), np.eye(4)), make_task(spacing_mm=(1, 1, 2)))
    assert prepared.box == ((1, 5), (2, 6), (2, 8))
    assert prepared.image.shape == (1, 8, 4, 3)
    np.testing.assert_allclose(prepared.image, 1, atol=1e-5)
    assert nonzero_box(np.zeros((2, 3, 4), bool)) == ((0, 2), (0, 3), (0, 4))
    assert crop(image, prepared.box).min() == 325


def test_holes_of_the_body_are_body():
    """nnU-Net fills them before it takes mean and deviation; a bay that is open to the outside is none."""
    image = np.zeros((1, 9, 9, 9), np.float32)
    image[0, 1:8, 1:8, 1:8] = np.random.default_rng(0).integers(50, 150, (7, 7, 7))
    image[0, 4, 4, 4:6] = 0
    image[0, 1, 4, 1:3] = 0
    body = np.ones((7, 7, 7), bool)
    body[0, 3, 0:2] = False
    volume, task = Volume(image, (1, 1, 1), np.eye(4)), make_task(spacing_mm=(1, 1, 1))
    hows = (Normalization("zscore", masked=True), Normalization("zscore", masked=False))
    masked, whole = (preprocess(volume, task.resolve([how])) for how in hows)
    values = image[0, 1:8, 1:8, 1:8]
    mean, sd = values[body].mean(), values[body].std()
    np.testing.assert_allclose(masked.image[0], np.where(body, (values - mean) / sd, 0), atol=1e-5)
    np.testing.assert_allclose(whole.image[0], (values - values.mean()) / values.std(), atol=1e-5)
    assert masked.box == whole.box == ((1, 8),) * 3
