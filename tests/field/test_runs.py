"""Runs, weights and caches that are not as expected: followed, refused, made again; nothing is replaced unasked."""

import hashlib
import json
import shutil

import blosc2
import numpy as np
import pytest
import torch

from field.base import SETTINGS, TASK
from field.inputs.balls import ball, read, save, write_dataset
from field.marks import rows

FEW = "data.steps_per_epoch=2"
OTHER_RUNS = ("model.encoder.channels=[4,8,8,16]", "task=[liver,spleen,third]", "optimizer=sgd")
BAD_NAMES = ("../scans", "/tmp/uniseg_escape", "..", "a\0b", "a" * 300, ".hidden")
WORDS = ("${oc.env:UNISEG_SECRET}", "${", "CC [/x] $\\frac$")


def digests(folder):
    """Of what a run has written for its user: neither hidden files nor logs of the command."""
    paths = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    seen = {name: path for name, path in paths.items() if not name.startswith(".") and not name.endswith(".log")}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in seen.items()}


def checkpoint_with(base, path, change):
    """The base's checkpoint with something changed in it."""
    content = torch.load(base.checkpoint, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def two_tasks(commands, base, tmp_path_factory):
    """A run over two tasks, of one epoch."""
    folder = tmp_path_factory.mktemp("two")
    for number, name in enumerate(("Liver", "Spleen")):
        write_dataset(folder / f"raw/Dataset93{number}_{name}", 6, first_seed=10 * number)
    commands.succeed("prepare", "import=raw", cwd=folder)
    commands.succeed("prepare", "task=[liver,spleen]", "num_workers=1", cwd=folder)
    commands.succeed("train", "task=[liver,spleen]", *SETTINGS, FEW, "name=two", cwd=folder)
    return folder


def test_a_run_is_resumed_with_its_tasks_in_its_order(commands, two_tasks, tmp_path):
    shutil.copytree(two_tasks, tmp_path / "run")
    settings = [*SETTINGS, FEW, "name=two", "ckpt_path=last", "trainer.max_epochs=2"]
    before = digests(tmp_path / "run/outputs/two")
    done = commands.run("train", "task=[spleen,liver]", *settings, cwd=tmp_path / "run")
    if done.code == 0:
        content = torch.load(tmp_path / "run/outputs/two/checkpoints/last.ckpt", weights_only=True)
        names = [task["name"] for task in content["uniseg"]["tasks"]]
        assert names == ["liver", "spleen"], "the order follows the checkpoint"
    else:
        assert (done.code, len(done.errors)) == (2, 1), done.tail
        assert digests(tmp_path / "run/outputs/two") == before


@pytest.mark.parametrize("change", rows(OTHER_RUNS, fast=["optimizer=sgd"]))
def test_a_run_is_not_resumed_as_another(commands, two_tasks, tmp_path, change):
    shutil.copytree(two_tasks, tmp_path / "run")
    if "third" in change:
        write_dataset(tmp_path / "more/Dataset933_Third", 6, first_seed=40)
        commands.succeed("prepare", f"import={tmp_path}/more", cwd=tmp_path / "run")
        commands.succeed("prepare", "task=[third]", "num_workers=1", cwd=tmp_path / "run")
    before = digests(tmp_path / "run/outputs/two")
    settings = [
        "task=[liver,spleen]",
        *(entry for entry in SETTINGS if not (entry.startswith("optimizer") and "optimizer" in change)),
    ]
    commands.refuse(
        "train", *settings, change, FEW, "name=two", "ckpt_path=last", "trainer.max_epochs=2", cwd=tmp_path / "run"
    )
    assert digests(tmp_path / "run/outputs/two") == before


def test_a_finished_run_is_not_overwritten_unasked(commands, two_tasks, tmp_path):
    shutil.copytree(two_tasks, tmp_path / "run")
    checkpoint = tmp_path / "run/outputs/two/checkpoints/last.ckpt"
    before = checkpoint.read_bytes()
    settings = ["task=[liver,spleen]", *SETTINGS, FEW, "name=two", "seed=1"]
    commands.refuse("train", *settings, cwd=tmp_path / "run", mentions=("overwrite=true",))
    assert checkpoint.read_bytes() == before
    commands.succeed("train", *settings, "overwrite=true", cwd=tmp_path / "run")
    assert checkpoint.read_bytes() != before


@pytest.mark.slow
def test_cases_ever_seen_are_remembered_through_fine_tuning(commands, two_tasks, tmp_path):
    shutil.copytree(two_tasks, tmp_path / "run")
    splits = json.loads((tmp_path / "run/outputs/cache/liver/splits.json").read_text())
    seen = sorted({case for fold in splits["folds"][1:] for case in fold})
    others = sorted({*splits["test"], *splits["folds"][0]})
    split = f"tasks.liver.source.splits={{train:[{','.join(others)}],test:[{','.join(seen)}]}}"
    settings = ["task=[liver]", *SETTINGS, FEW, split]
    commands.succeed("prepare", *settings, "num_workers=1", "paths.cache=other", cwd=tmp_path / "run")
    given = [*settings, "paths.cache=other", "name=tuned"]
    commands.succeed(
        "train", *given, "init=checkpoint", "init.checkpoint=outputs/two/checkpoints/last.ckpt", cwd=tmp_path / "run"
    )
    commands.refuse("evaluate", *given, cwd=tmp_path / "run", mentions=(seen[0], "train"))


def test_init_checkpoint_without_a_file_is_refused(commands, base):
    commands.refuse(
        "train",
        f"task=[{TASK}]",
        *SETTINGS,
        FEW,
        "name=nothing",
        "init=checkpoint",
        cwd=base.folder,
        mentions=("init.checkpoint",),
    )
    assert not (base.folder / "outputs/nothing/checkpoints").exists()


def test_a_network_of_nan_gives_no_empty_map(commands, base, tmp_path):
    def spoil(content):
        name = next(name for name in content["state_dict"] if "encoder" in name)
        weight = content["state_dict"][name]
        weight[(0,) * weight.dim()] = float("nan")

    spoiled = checkpoint_with(base, tmp_path / "nan.ckpt", spoil)
    scan = save(tmp_path / "scan.nii.gz", ball()[0])
    given = [f"checkpoint={spoiled}", *base.predicting(scan, tmp_path / "out")[1:]]
    commands.refuse("predict", *given, cwd=tmp_path, mentions=("nan.ckpt",))
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


@pytest.mark.parametrize("name", rows(BAD_NAMES, fast=["../scans"]))
def test_a_task_name_writes_nowhere_else(commands, base, tmp_path, name):
    exported = tmp_path / "exported"
    commands.succeed("export", f"checkpoint={base.checkpoint}", f"output={exported}", cwd=tmp_path)
    text = (exported / "model.json").read_text()
    (exported / "model.json").write_text(text.replace(f'"name": {json.dumps(TASK)}', f'"name": {json.dumps(name)}'))
    assert (exported / "model.json").read_text() != text
    scan = save(tmp_path / "scans/scan.nii.gz", ball()[0])
    before = scan.read_bytes()
    given = [
        f"checkpoint={exported}",
        f"input={scan}",
        f"output={tmp_path}/out",
        "modality=[CT]",
        "inference.device=cpu",
    ]
    commands.refuse("predict", *given, cwd=tmp_path)
    assert scan.read_bytes() == before
    assert sorted(path.name for path in scan.parent.iterdir()) == ["scan.nii.gz"]
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_a_case_name_writes_nowhere_else(commands, tmp_path):
    root = write_dataset(tmp_path / "raw/Dataset940_Listed", 5)
    description = json.loads((root / "dataset.json").read_text())
    listed = {
        f"case_{k:03d}": {"images": [f"imagesTr/case_{k:03d}_0000.nii.gz"], "label": f"labelsTr/case_{k:03d}.nii.gz"}
        for k in range(5)
    }
    listed["../../../escape"] = listed.pop("case_001")
    (root / "dataset.json").write_text(json.dumps(description | {"dataset": listed}))
    done = commands.run("prepare", "import=raw", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    if done.code == 0:
        commands.refuse("prepare", "task=[listed]", "num_workers=1", cwd=tmp_path, mentions=("escape",))
    assert not (tmp_path / "escape").exists()
    assert not list(tmp_path.parent.glob("escape*"))


@pytest.mark.slow
@pytest.mark.parametrize("licence", WORDS)
def test_the_words_of_a_dataset_are_words(commands, tmp_path, licence):
    write_dataset(tmp_path / "raw/Dataset941_Worded", 5, licence=licence)
    env = {"UNISEG_SECRET": "hunter2"}
    commands.succeed("prepare", "import=raw", cwd=tmp_path, env=env)
    commands.succeed("prepare", "task=[worded]", "num_workers=1", cwd=tmp_path, env=env)
    commands.succeed("train", "task=[worded]", *SETTINGS, FEW, cwd=tmp_path, env=env)
    commands.succeed("export", "checkpoint=outputs/run/checkpoints/last.ckpt", "output=exported", cwd=tmp_path, env=env)
    origin = json.loads((tmp_path / "exported/model.json").read_text())["origin"]["data"]["worded"]
    assert origin["licence"] == licence
    assert not any(b"hunter2" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_task_file_runs_no_code(commands, base, tmp_path):
    shutil.copytree(base.folder / "conf", tmp_path / "conf")
    (tmp_path / "conf/task/evil.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    evil:\n      _target_: os.mkdir\n      path: owned\n"
    )
    commands.refuse("prepare", "task=[evil]", cwd=tmp_path, mentions=("evil.yaml",))
    assert not (tmp_path / "owned").exists()


@pytest.mark.slow
def test_class_names_are_words_in_the_report(commands, tmp_path):
    labels = {"background": 0, "[/x] $\\frac$ =1+1 <b>": 1}
    write_dataset(tmp_path / "raw/Dataset942_Marked", 7, labels=labels)
    commands.succeed("prepare", "import=raw", cwd=tmp_path)
    settings = ["task=[marked]", *SETTINGS, FEW]
    commands.succeed("prepare", *settings, "num_workers=1", cwd=tmp_path)
    commands.succeed("train", *settings, cwd=tmp_path)
    commands.succeed("evaluate", *settings, cwd=tmp_path)
    commands.succeed("report", "run=outputs/run", cwd=tmp_path)
    page = (tmp_path / "outputs/run/report/report.html").read_text()
    assert "<b>" not in page.replace("&lt;b&gt;", "")


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "cut", "emptied"])
def test_a_damaged_cache_is_mended_by_prepare(commands, base, tmp_path, damage):
    """One part of one case after the other."""
    cache = tmp_path / "cache"
    shutil.copytree(base.folder / "outputs/cache", cache)
    parts = ("image.b2nd", "label.b2nd", "foreground.npy", "case.json")
    for part, path in zip(parts, sorted(cache.rglob("case.json")), strict=False):
        damaged = path.with_name(part)
        content = damaged.read_bytes()
        damaged.unlink()
        if damage != "gone":
            damaged.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    settings = [
        f"task=[{TASK}]",
        *SETTINGS,
        f"paths.cache={cache}",
        f"paths.outputs={tmp_path}",
        "data.steps_per_epoch=12",
    ]
    done = commands.run("train", *settings, "name=early", cwd=base.folder)
    assert (done.code, len(done.errors)) == (2, 1), done.tail
    assert "uniseg.prepare" in done.errors[0]
    commands.succeed("prepare", *settings, "num_workers=1", cwd=base.folder)
    commands.succeed("train", *settings, "name=late", cwd=base.folder)
    fresh = {path.parents[1].name: path.parent for path in (base.folder / "outputs/cache").rglob("case.json")}
    for case_id, folder in fresh.items():
        (mended,) = [path.parent for path in (cache / TASK / case_id).rglob("case.json")]
        np.testing.assert_array_equal(np.load(mended / "foreground.npy"), np.load(folder / "foreground.npy"))
        for part in ("image.b2nd", "label.b2nd"):
            np.testing.assert_array_equal(*(blosc2.open(str(place / part))[:] for place in (mended, folder)))


@pytest.mark.slow
def test_an_evaluation_is_not_blind_to_a_replaced_scan(commands, base, tmp_path):
    shutil.copytree(base.folder / "raw", tmp_path / "raw")
    root = tmp_path / "raw/Dataset901_Plain"
    given = [f"task=[{TASK}]", *SETTINGS, f"tasks.{TASK}.source.root={root}", f"checkpoint={base.checkpoint}"]
    commands.succeed("evaluate", *given, f"output={tmp_path}/scores", cwd=base.folder)
    cases = json.loads((tmp_path / "scores/cases.json").read_text())
    image = ball(7, values=())[0]
    for row in cases:  # the same label, an image without a ball
        save(root / f"imagesTr/{row['case_id']}_0000.nii.gz", image)
    for name in ("scores", "fresh"):
        commands.succeed("evaluate", *given, f"output={tmp_path}/{name}", cwd=base.folder)
    again, fresh = (
        json.loads((tmp_path / name / "metrics.json").read_text())["mean_dice"] for name in ("scores", "fresh")
    )
    assert again == pytest.approx(fresh)
    assert again < 0.3


def test_cases_json_names_files_that_are_found_from_elsewhere(commands, base, tmp_path):
    relative = [
        f"task=[{TASK}]",
        *SETTINGS,
        f"tasks.{TASK}.source.root=raw/Dataset901_Plain",
        "checkpoint=outputs/base/checkpoints/last.ckpt",
    ]
    commands.succeed("evaluate", *relative, f"output={tmp_path}/scores", cwd=base.folder)
    for row in json.loads((tmp_path / "scores/cases.json").read_text()):
        for path in (*row["images"], row["label"]):
            assert np.asarray(read(tmp_path / path)).shape == ball()[0].shape


def test_demo_without_phantoms_is_reported_in_words_of_ours(commands, tmp_path):
    done = commands.run("train", "experiment=demo", "phantom=null", cwd=tmp_path)
    assert (done.code, len(done.errors) <= 1) == (2, True), done.tail
    assert "phantom" in done.stderr
    assert not any(word in done.stderr for word in ("Traceback", "Config group override"))
