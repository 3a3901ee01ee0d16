"""Datasets and tables as the field has them, from files to a cache and a training."""

import csv
import json
import re

import numpy as np
import pytest
import torch

from field.base import SETTINGS, TASK
from field.inputs import training
from field.inputs.balls import SPACING_MM, ball, read, save, write_dataset
from field.inputs.tables import NUMBER, write_tables
from field.marks import rows

VOXEL_ML = float(np.prod(SPACING_MM)) / 1000
MESSAGES_OF_TABLES = (
    ("semicolon", ("comma",)),
    ("tabs", ("comma",)),
    ("latin", ("UTF-8", "row 2", "line 2")),
    ("utf16", ("UTF-8",)),
    ("windows", ("row 2", "\\")),
    ("trailing", ("column",)),
    ("twice", ("case0", "row 8")),
    ("capitals", ("'case'",)),
    ("index", ("column", "index")),
    ("nan", ("row 2",)),
)
TABLE_TASK = """# @package tasks.table
modalities: [CT]
classes: [background, part]
spacing_mm: [3, 2, 2]
normalization: {CT: {mode: fingerprint}}
source: {layout: manifest, root: tables}
"""
NAMES = tuple(re.sub(r"^Dataset\d+_", "", name).lower() for name in training.SETS)


@pytest.fixture(scope="module")
def imported(commands, tmp_path_factory):
    """A folder with all sets that should train, imported."""
    folder = tmp_path_factory.mktemp("sets")
    training.write_sets(folder / "raw")
    commands.succeed("prepare", "import=raw", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def sets(commands, imported):
    """(folder, end of prepare, end of train), all sets together."""
    epoch = [f"data.steps_per_epoch={3 * len(NAMES)}", "data.val_steps=9", "data.batch_size=1"]
    settings = [f"task=[{','.join(NAMES)}]", *SETTINGS, "name=all", *epoch]
    prepared = commands.run("prepare", *settings, "num_workers=1", cwd=imported, timeout_s=300)
    return imported, prepared, commands.run("train", *settings, cwd=imported, timeout_s=300)


@pytest.mark.slow
def test_all_are_prepared_with_all_their_cases(sets):
    folder, prepared, _ = sets
    assert prepared.code == 0, prepared.tail
    for name in NAMES:
        splits = json.loads((folder / f"outputs/cache/{name}/splits.json").read_text())
        assert len({*splits["test"], *(case for fold in splits["folds"] for case in fold)}) == training.NUMBER, name


@pytest.mark.slow
def test_all_train_with_finite_losses(sets):
    folder, _, trained = sets
    assert trained.code == 0, trained.tail
    with (folder / "outputs/all/logs/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in NAMES:
        losses = [float(row[f"train/loss/{name}"]) for row in rows if row.get(f"train/loss/{name}")]
        assert losses, f"{name} was never drawn"
        assert np.isfinite(losses).all(), name
    state = torch.load(folder / "outputs/all/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in state.values() if tensor.is_floating_point())


def test_mr_in_a_ct_set_is_noted_by_case(commands, imported):
    prepared = commands.run("prepare", "task=[mixed]", "audit.only=true", "num_workers=1", cwd=imported)
    for case in ("case_006", "case_007"):
        assert any("mixed" in line and case in line for line in prepared.stderr.splitlines()), prepared.stderr[-2000:]
    assert not any("mixed" in line and "case_001" in line for line in prepared.stderr.splitlines())


def test_label_files_of_every_type_hold_the_same_voxels(commands, imported, tmp_path):
    commands.succeed("prepare", "task=[floats]", f"paths.cache={tmp_path}", "num_workers=1", cwd=imported)
    paths = tmp_path.glob("floats/fingerprints/*.npz")
    volumes = sorted(json.loads(str(np.load(path)["facts"]))["class_ml"][0] for path in paths)
    seed = training.SEEDS_APART * NAMES.index("floats")
    expected = sorted(np.count_nonzero(ball(seed + k)[1]) * VOXEL_ML for k in range(training.NUMBER))
    np.testing.assert_allclose(volumes, expected, rtol=1e-3)


def test_a_case_without_label_is_taken_as_absent_where_it_is_listed(commands, imported, tmp_path):
    given = ["task=[amos]", "tasks.amos.source.absent=[amos_0600]", f"paths.cache={tmp_path}/cache", "num_workers=1"]
    commands.succeed("prepare", *given, cwd=imported)
    splits = json.loads((tmp_path / "cache/amos/splits.json").read_text())
    assert "amos_0600" in {*splits["test"], *(case for fold in splits["folds"] for case in fold)}


def test_other_label_values_go_through_the_map(commands, imported, tmp_path):
    """BraTS's 4 is the third class in references and in the predictions of other tools."""
    labels = imported / "raw/Dataset902_Gaps/labelsTr"
    commands.succeed(
        "evaluate", f"predictions={labels}", f"labels={labels}", "task=[gaps]", f"output={tmp_path}/out", cwd=imported
    )
    with (tmp_path / "out/scores.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "enhancing"]
    assert len(rows) == training.NUMBER
    for row in rows:
        voxels = np.count_nonzero(read(labels / f"{row['case_id']}.nii.gz") == 4)
        assert float(row["dice"]) == 1
        assert float(row["prediction_ml"]) == pytest.approx(voxels * VOXEL_ML, abs=1e-4)


def test_a_foreign_value_is_refused_never_bent(commands, imported, tmp_path):
    for k in range(2):
        label = read(imported / f"raw/Dataset902_Gaps/labelsTr/case_{k:03d}.nii.gz")
        save(tmp_path / f"labels/case_{k:03d}.nii.gz", label)
        save(tmp_path / f"predictions/case_{k:03d}.nii.gz", np.where(label == 4, 9, label) if k == 1 else label)
    given = [
        f"predictions={tmp_path}/predictions",
        f"labels={tmp_path}/labels",
        "task=[gaps]",
        f"output={tmp_path}/out",
    ]
    commands.refuse("evaluate", *given, cwd=imported, mentions=("predictions/case_001.nii.gz", "9"))
    assert not (tmp_path / "out/scores.csv").exists()


@pytest.mark.slow
def test_empty_labels_are_noted_by_the_tasks_name_with_advice_that_holds(commands, tmp_path):
    training.write_empty(tmp_path / "raw/Dataset904_Empty")
    commands.succeed("prepare", "import=raw", cwd=tmp_path)
    done = commands.run("prepare", "task=[empty]", "num_workers=1", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.code in (0, 2), done.tail
    notes = [line for line in done.stderr.splitlines() if "no foreground" in line or "in none of" in line]
    assert notes
    assert all("empty" in line for line in notes)
    if "source.absent" in done.stderr:
        done = commands.run(
            "prepare", "task=[empty]", "num_workers=1", "tasks.empty.source.absent=[case_000]", cwd=tmp_path
        )
        left = [line for line in done.stderr.splitlines() if "no foreground" in line]
        assert any("case_001" in line for line in left)
        assert not any("case_000" in line for line in left)
        assert not any("source.absent lists" in line for line in done.errors)


@pytest.mark.slow
def test_one_scan_for_test_here_and_in_training_there_is_refused(commands, base, tmp_path):
    """Prepared together or one by one."""
    training.write_twin(tmp_path / "raw/Dataset912_Twin", base.dataset)
    (tmp_path / "conf/task").mkdir(parents=True)
    text = (base.folder / f"conf/task/{TASK}.yaml").read_text()
    cases = [f"case_{k:03d}" for k in range(8)]
    splits = {"train": cases[:4], "val": cases[4:6], "test": cases[6:]}
    (tmp_path / f"conf/task/{TASK}.yaml").write_text(f"{text}  splits: {json.dumps(splits)}\n")
    commands.succeed("prepare", "import=raw", cwd=tmp_path)
    for name in (TASK, "twin"):
        commands.succeed("prepare", f"task=[{name}]", "num_workers=1", cwd=tmp_path)
    settings = [f"task=[{TASK},twin]", *SETTINGS, "data.steps_per_epoch=2", "name=both"]
    line = commands.refuse("train", *settings, cwd=tmp_path)
    assert "other_000" in line or "case_000" in line
    assert not (tmp_path / "outputs/both/checkpoints").exists()


def test_a_dataset_of_the_same_name_does_not_replace_a_task_file(commands, base, tmp_path):
    write_dataset(tmp_path / "sub/Dataset901_Plain", first_seed=50)
    before = (base.folder / f"conf/task/{TASK}.yaml").read_text()
    commands.refuse(
        "prepare",
        f"import={tmp_path}/sub",
        cwd=base.folder,
        mentions=(f"{TASK}.yaml", "another task file of this name"),
    )
    assert (base.folder / f"conf/task/{TASK}.yaml").read_text() == before


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manifests")
    write_tables(folder / "tables")
    (folder / "conf/task").mkdir(parents=True)
    (folder / "conf/task/table.yaml").write_text(TABLE_TASK)
    return folder


def reading(folder, name, cache):
    source = "tasks.table.source"
    splits = f"{source}.splits={{train: [case0, case1, case2], val: [case3], test: [case4, case5]}}"
    return ["task=[table]", f"{source}.root={folder}/tables/{name}", splits, f"paths.cache={cache}", "num_workers=1"]


@pytest.mark.parametrize("name", rows(["plain", "spaces", "bom"], fast=["plain"]))
def test_a_table_is_read(commands, manifests, tmp_path, name):
    commands.succeed("prepare", *reading(manifests, name, tmp_path), cwd=manifests)
    assert len(list(tmp_path.glob("table/*/*/case.json"))) == NUMBER - 2, "all but those for test"


@pytest.mark.parametrize(("name", "mentions"), rows(MESSAGES_OF_TABLES, fast=["semicolon", "latin"]))
def test_a_table_of_a_spreadsheet_is_read_or_says_how_to_save(commands, manifests, tmp_path, name, mentions):
    done = commands.run("prepare", *reading(manifests, name, tmp_path), cwd=manifests)
    assert "Traceback" not in done.stderr
    if done.code == 0:
        assert len(list(tmp_path.glob("table/*/*/case.json"))) == NUMBER - 2
        return
    assert (done.code, len(done.errors)) == (2, 1), done.tail
    assert "manifest.csv" in done.errors[0]
    assert any(word in done.errors[0] for word in mentions), done.errors[0]


def test_a_stray_comma_in_dataset_json_is_reported_with_its_line(commands, tmp_path):
    root = write_dataset(tmp_path / "raw/Dataset920_Comma", 4)
    path = root / "dataset.json"
    path.write_text(path.read_text().replace('"numTraining": 4,', '"numTraining": 4,,'))
    number = next(k for k, line in enumerate(path.read_text().splitlines(), start=1) if ",," in line)
    done = commands.run("prepare", "import=raw", cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.tail
    assert f"line {number}" in done.stderr
