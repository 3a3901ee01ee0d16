"""File names of the field: case numbers that look like channels, characters that mean something to Hydra, junk."""

import csv
import json

import numpy as np
import pytest

from field.base import TASK
from field.inputs.balls import ball, dice, read, save
from field.inputs.names import FOUR_DIGITS, ODD, write_amos, write_junk, write_odd, write_pancreas
from field.marks import rows


def predicted(output):
    return sorted(path.name for path in (output / TASK).glob("*.nii.gz"))


def test_a_folder_of_odd_names_is_predicted_under_these_names(commands, base, tmp_path):
    folder = write_odd(tmp_path / "odd")
    done = base.predict(commands, folder, tmp_path / "out")
    assert done.code == 0, done.tail
    assert predicted(tmp_path / "out") == sorted(f"{name}.nii.gz" for name in ODD)


def quotings(value):
    """As Hydra takes text."""
    return ["'" + value.replace("'", "\\'") + "'", f'"{value}"']


@pytest.mark.parametrize("name", rows(ODD, fast=["a(1)"]))
def test_an_odd_name_is_read_or_quoted_for_the_user(commands, base, tmp_path, name):
    folder = write_odd(tmp_path / "odd")
    others = [entry for entry in base.predicting("-", tmp_path / "out") if not entry.startswith("input=")]
    done = commands.run("predict", f"input=odd/{name}.nii.gz", *others, cwd=tmp_path)
    if done.code != 0:
        assert (done.code, len(done.errors)) == (2, 1), done.tail
        assert "input" in done.errors[0]
        quoted = next(form for form in quotings(f"odd/{name}.nii.gz") if form in done.errors[0])
        commands.succeed("predict", f"input={quoted}", *others, cwd=tmp_path)
    np.testing.assert_array_equal(
        read(tmp_path / f"out/{TASK}/{name}.nii.gz").shape, read(folder / f"{name}.nii.gz").shape
    )


def test_a_case_number_of_four_digits_is_no_channel(commands, base, tmp_path):
    folder = write_amos(tmp_path / "amos")
    done = base.predict(commands, folder / "amos_0001.nii.gz", tmp_path / "one")
    assert done.code == 0, done.tail
    assert predicted(tmp_path / "one") == ["amos_0001.nii.gz"]
    done = base.predict(commands, folder, tmp_path / "all")
    assert done.code == 0, done.tail
    assert predicted(tmp_path / "all") == [f"amos_{number:04d}.nii.gz" for number in FOUR_DIGITS]


@pytest.mark.slow
def test_case_numbers_from_0_on_are_no_channels_in_predict(commands, base, tmp_path):
    folder = write_pancreas(tmp_path / "pancreas")
    done = base.predict(commands, folder / "images", tmp_path / "out")
    assert done.code == 0, done.tail
    assert predicted(tmp_path / "out") == [f"pancreas_{number:04d}.nii.gz" for number in range(3)]


def test_label_maps_are_never_grouped_into_channels(commands, base, tmp_path):
    folder = write_pancreas(tmp_path / "pancreas")
    given = [f"predictions={folder}/predictions", f"labels={folder}/labels", f"task=[{TASK}]", f"output={tmp_path}/out"]
    commands.succeed("evaluate", *given, cwd=base.folder)
    with (tmp_path / "out/scores.csv").open() as file:
        found = {row["case_id"]: float(row["dice"]) for row in csv.DictReader(file)}
    assert found == {"pancreas_0000": 1, "pancreas_0001": 0, "pancreas_0002": 0}
    assert json.loads((tmp_path / "out/metrics.json").read_text())["mean_dice"] == pytest.approx(1 / 3)


def test_our_own_output_with_probabilities_is_evaluated(commands, base, tmp_path):
    image, label = ball(77)
    scan = save(tmp_path / "scans/scan.nii.gz", image)
    save(tmp_path / "labels/scan.nii.gz", label)
    done = base.predict(commands, scan, tmp_path / "out", "probabilities=true")
    assert done.code == 0, done.tail
    assert predicted(tmp_path / "out") == ["scan.nii.gz", "scan_probabilities.nii.gz"]
    given = [
        f"predictions={tmp_path}/out/{TASK}",
        f"labels={tmp_path}/labels",
        f"task=[{TASK}]",
        f"output={tmp_path}/scores",
    ]
    commands.succeed("evaluate", *given, cwd=base.folder)
    expected = dice(read(tmp_path / f"out/{TASK}/scan.nii.gz"), label)
    assert json.loads((tmp_path / "scores/metrics.json").read_text())["mean_dice"] == pytest.approx(expected)


def test_junk_beside_a_scan_is_passed_over_and_capitals_are_not_silent(commands, base, tmp_path):
    folder = write_junk(tmp_path / "junk")
    done = base.predict(commands, folder, tmp_path / "out")
    assert done.code == 0, done.tail
    assert "scan.nii.gz" in predicted(tmp_path / "out")
    assert set(predicted(tmp_path / "out")) <= {"scan.nii.gz", "LOUD.nii.gz"}
    assert "LOUD.nii.gz" in predicted(tmp_path / "out") or "LOUD.NII.GZ" in done.stderr


def test_a_folder_called_by_a_number_is_text(commands, base, tmp_path):
    save(tmp_path / "10023/scan.nii.gz", ball()[0])
    others = [entry for entry in base.predicting("-", tmp_path / "out") if not entry.startswith("input=")]
    commands.succeed("predict", "input=10023", *others, cwd=tmp_path)
    assert predicted(tmp_path / "out") == ["scan.nii.gz"]


def test_cases_called_by_numbers_are_text_in_a_split(commands, base, tmp_path):
    for k in range(4):
        image, label = ball(k)
        save(tmp_path / f"raw/imagesTr/{100 + k}_0000.nii.gz", image)
        save(tmp_path / f"raw/labelsTr/{100 + k}.nii.gz", label)
    (tmp_path / "raw/dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}}))
    source = f"tasks.{TASK}.source"
    given = [
        f"task=[{TASK}]",
        f"{source}.root={tmp_path}/raw",
        f"{source}.splits={{train: [100, 101], val: [102], test: [103]}}",
    ]
    commands.succeed("prepare", *given, f"paths.cache={tmp_path}/cache", "num_workers=1", cwd=base.folder)
    assert json.loads((tmp_path / f"cache/{TASK}/splits.json").read_text())["test"] == ["103"]


@pytest.mark.slow
def test_a_checkpoint_called_epoch_equals_3_is_found_or_quoted(commands, base, tmp_path):
    copy = tmp_path / "epoch=3-step=100.ckpt"
    copy.write_bytes(base.checkpoint.read_bytes())
    scan = save(tmp_path / "scan.nii.gz", ball()[0])
    others = [entry for entry in base.predicting(scan, tmp_path / "out") if not entry.startswith("checkpoint=")]
    done = commands.run("predict", "checkpoint=epoch=3-step=100.ckpt", *others, cwd=tmp_path)
    if done.code != 0:
        assert (done.code, len(done.errors)) == (2, 1), done.tail
        assert "checkpoint" in done.errors[0]
        quoted = next(form for form in quotings("epoch=3-step=100.ckpt") if form in done.errors[0])
        commands.succeed("predict", f"checkpoint={quoted}", *others, cwd=tmp_path)
    assert predicted(tmp_path / "out") == ["scan.nii.gz"]
