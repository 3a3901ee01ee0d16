"""The phantom suite: what is written, what is labelled, where it lies."""

import hashlib
import json
import shutil
from dataclasses import asdict
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.phantom.shapes import STRUCTURES, VALUE
from uniseg.phantom.suite import STOMACH, TASKS, PhantomCase, PhantomSettings, make_case, write_suite

INDEX = {task.name: index for index, task in enumerate(TASKS)}
ORGANS = ("liver", "hepatic_vessel", "kidney", "spleen", "pancreas", "stomach", "aorta", "vertebra")
TO_RAS = np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0.0]])


@cache
def case_of(name: str, case_index: int, seed: int = 0, shared_style: bool = False) -> PhantomCase:
    return make_case(seed, INDEX[name], case_index, shared_style=shared_style)


def share(mask: np.ndarray, truth: np.ndarray) -> float:
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("suite")
    write_suite(root, PhantomSettings(num_cases=1))
    return root


def test_the_eleven_tasks_are_those_of_uniseg():
    counts = {task.name: (len(task.modalities), len(task.classes)) for task in TASKS}
    assert counts == {
        "liver": (1, 3), "kidney": (1, 3), "hepatic_vessel": (1, 3), "pancreas": (1, 3), "colon": (1, 2),
        "lung": (1, 2), "spleen": (1, 2),
        "vertebrae": (1, 2), "prostate": (1, 2), "brain_tumour": (4, 4), "whole_body_tumour": (2, 2),
    }  # fmt: skip
    assert all(name in VALUE for task in TASKS for names in task.targets.values() for name in names)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_dataset_is_complete(suite: Path, task):
    folder, case_id = suite / task.dataset, f"{task.name}_000"
    description = json.loads((folder / "dataset.json").read_text())
    assert tuple(description["channel_names"].values()) == task.modalities
    assert description["labels"] == {name: value for value, name in enumerate(task.classes)}
    assert description["numTraining"] == len(list((folder / "labelsTr").iterdir())) == 1

    label = nib.load(folder / "labelsTr" / f"{case_id}.nii.gz")
    truth = nib.load(suite / "truth" / f"{case_id}.nii.gz")
    assert np.unique(label.dataobj).tolist() == list(range(len(task.classes)))
    np.testing.assert_array_equal(task.label(np.asarray(truth.dataobj)), label.dataobj)
    images = sorted((folder / "imagesTr").iterdir())
    assert [path.name for path in images] == [
        f"{case_id}_{channel:04d}.nii.gz" for channel in range(len(task.modalities))
    ]
    for path in images:
        image = nib.load(path)
        assert image.shape == label.shape
        np.testing.assert_array_equal(image.affine, label.affine)
        assert np.isfinite(image.get_fdata()).all()


def test_all_organs_are_there_but_only_the_target_is_labelled(suite: Path):
    names = json.loads((suite / "truth" / "structures.json").read_text())
    assert names == VALUE
    assert len(names) == len(STRUCTURES)
    for task in TASKS:
        if task.modalities != ("CT",):
            continue
        truth = np.asarray(nib.load(suite / "truth" / f"{task.name}_000.nii.gz").dataobj)
        label = np.asarray(nib.load(suite / task.dataset / "labelsTr" / f"{task.name}_000.nii.gz").dataobj)
        targets = {name for group in task.targets.values() for name in group}
        for name in ORGANS:
            assert (truth == VALUE[name]).any(), f"{task.name} lacks {name}"
            assert (label[truth == VALUE[name]] > 0).all() == (name in targets)


def test_some_patients_have_no_tumour_and_first_ones_have_all():
    liver = TASKS[INDEX["liver"]]
    tumours = [(liver.label(case_of("liver", index).structures) == 2).any() for index in range(10)]
    assert tumours[0]
    assert 0.5 < np.mean(tumours) < 1


def test_the_seed_decides_everything():
    first, again, other = (make_case(seed, INDEX["pancreas"], 1, shared_style=False) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.structures, again.structures)
    assert first.structures.shape != other.structures.shape or (first.structures != other.structures).any()


def test_a_suite_is_rewritten_only_for_other_settings(suite: Path):
    settings, kept = suite / "suite.json", suite / "phantom_liver" / "imagesTr" / "liver_000_0000.nii.gz"
    before = (settings.stat().st_mtime_ns, kept.stat().st_mtime_ns)
    write_suite(suite, PhantomSettings(num_cases=1))
    assert (settings.stat().st_mtime_ns, kept.stat().st_mtime_ns) == before

    files = {path: path.read_bytes() for path in suite.rglob("*") if path.is_file()}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"seed": 1}))
    write_suite(suite, PhantomSettings(num_cases=1))
    assert kept.stat().st_mtime_ns > before[1]
    assert {path: path.read_bytes() for path in suite.rglob("*") if path.is_file()} == files


def test_a_suite_of_an_older_version_gets_what_it_lacks(suite: Path):
    """A dataset that was added since; the others, and what was prepared of them, stay."""
    settings, kept = suite / "suite.json", suite / "phantom_liver" / "imagesTr" / "liver_000_0000.nii.gz"
    files = {path: path.read_bytes() for path in suite.rglob("*") if path.is_file()}
    before = kept.stat().st_mtime_ns
    settings.write_text(
        json.dumps({key: value for key, value in json.loads(settings.read_text()).items() if key != "datasets"})
    )
    shutil.rmtree(suite / STOMACH.dataset)
    write_suite(suite, PhantomSettings(num_cases=1))
    assert kept.stat().st_mtime_ns == before
    assert {path: path.read_bytes() for path in suite.rglob("*") if path.is_file()} == files


def test_the_dataset_to_fine_tune_on_is_labelled_by_no_other(suite: Path):
    assert not any("stomach" in names for task in TASKS for names in task.targets.values())
    label = np.asarray(nib.load(suite / STOMACH.dataset / "labelsTr" / "stomach_000.nii.gz").dataobj)
    truth = np.asarray(nib.load(suite / "truth" / "stomach_000.nii.gz").dataobj)
    np.testing.assert_array_equal(label == 1, truth == VALUE["stomach"])
    assert label.any()


def test_no_case_is_an_error():
    with pytest.raises(InputError, match="num_cases: found 0"):
        PhantomSettings(num_cases=0)


def test_files_lie_where_the_patient_lay(suite: Path):
    """Voxel by voxel, through the file's affine back to the index the case was made at."""
    codes, oblique = set(), 0
    for task in TASKS:
        case = case_of(task.name, 0)
        file = nib.load(suite / "truth" / f"{task.name}_000.nii.gz")
        values = np.asarray(file.dataobj)
        voxels = np.random.default_rng(0).integers(0, values.shape, (500, 3))
        world = voxels @ file.affine[:3, :3].T + file.affine[:3, 3]
        made_at = (world @ TO_RAS - case.affine[:3, 3]) @ np.linalg.inv(case.affine[:3, :3]).T
        np.testing.assert_allclose(made_at, np.rint(made_at), atol=1e-3)
        np.testing.assert_array_equal(case.structures[tuple(np.rint(made_at).astype(int).T)], values[tuple(voxels.T)])
        assert "".join(nib.aff2axcodes(file.affine)) == case.orientation
        codes.add(case.orientation)
        oblique += nib.affines.obliquity(file.affine).max() > np.radians(1)
    assert len(codes) >= 4
    assert 0 < oblique < len(TASKS)


def test_the_liver_is_on_the_right_and_the_kidneys_below_it(suite: Path):
    file = nib.load(suite / "truth" / "spleen_000.nii.gz")
    values = np.asarray(file.dataobj)
    right, anterior, superior = np.transpose(
        [
            nib.affines.apply_affine(file.affine, np.argwhere(values == VALUE[name]).mean(0))
            for name in ("liver", "spleen", "kidney", "vertebra", "lung")
        ]
    )
    assert right[0] > right[1] + 30
    assert superior[2] < superior[0] < superior[4]
    assert anterior[3] < anterior[0]


@pytest.mark.parametrize(("shared_style", "apart"), [(False, True), (True, False)])
def test_a_site_is_known_by_its_style_unless_it_is_shared(shared_style: bool, apart: bool):
    """The noise of the fat, over five cases of two CT datasets."""

    def noise_hu(name: str) -> np.ndarray:
        cases = [case_of(name, index, shared_style=shared_style) for index in range(5)]
        return np.array([case.images[0][case.structures == VALUE["fat"]].std() for case in cases])

    one, other = noise_hu("liver"), noise_hu("kidney")
    separation = abs(one.mean() - other.mean()) / np.sqrt((one.var() + other.var()) / 2)
    assert (separation > 2) == apart, separation


def test_a_map_that_ignores_the_image_is_poor():
    for name in ("liver", "kidney"):
        labels = []
        for index in range(5):
            structures = case_of(name, index).structures
            grid = np.ix_(*(np.arange(32) * n // 32 for n in structures.shape))
            labels.append(TASKS[INDEX[name]].label(structures)[grid] == len(TASKS[INDEX[name]].targets))
        majority = np.mean(labels, axis=0) > 0.4
        assert np.mean([share(majority, label) for label in labels if label.any()]) < 0.35


def test_tumours_take_up_fdg_and_so_does_the_heart():
    names = ("lesion", "liver", "kidney", "muscle", "heart")
    cases = [case_of("whole_body_tumour", number) for number in range(6)]
    suv = {
        n: np.nanmean([c.images[1][c.structures == VALUE[n]].mean() for c in cases if (c.structures == VALUE[n]).any()])
        for n in names
    }
    assert suv["lesion"] > 1.5 * suv["liver"] > 1.5 * suv["muscle"]
    assert min(suv["kidney"], suv["heart"]) > suv["liver"]


def test_the_same_patients_as_ever():
    """Suites on disk are found again by their settings alone, so that their content may never change unseen."""
    digest = hashlib.sha256()
    for name in ("liver", "brain_tumour", "whole_body_tumour"):
        digest.update(case_of(name, 1, seed=3).structures.tobytes())
    assert digest.hexdigest()[:16] == "02a9b6b1908064d1"


def test_settings_have_the_defaults_of_the_yaml():
    assert yaml.safe_load((CONF_DIR / "phantom" / "default.yaml").read_text()) == asdict(PhantomSettings())
