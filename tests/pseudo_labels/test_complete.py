"""Two datasets, a network that knows both structures: each gets the other's as pseudo-labels, and trains with them."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml

from cubes import ANYTHING, CASES, write_dataset
from samples import make_task, small_model
from started import run, succeed
from uniseg import TaskSet, save_model
from uniseg.cache.store import TaskCache
from uniseg.images.files import read_label
from uniseg.sampling.datamodule import UniSegDataModule
from uniseg.sampling.settings import StreamSettings

GIVEN = ["task=[one,two]", "output=completed", "teachers=[teacher]", "inference.device=cpu"]


@pytest.fixture(scope="module")
def completed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completed")
    for value, name in ((5, "one"), (7, "two")):
        write_dataset(folder, name, value)
    tasks = TaskSet(make_task(name, classes=("background", name), spacing_mm=(1, 1, 1)) for name in ("one", "two"))
    save_model(small_model(tasks), folder / "teacher")
    succeed("complete", *GIVEN, *ANYTHING, cwd=folder)
    return folder


def rows(folder, task):
    with (folder / "completed" / task / "manifest.csv").open() as file:
        return list(csv.DictReader(file))


def test_own_cases_stand_beside_accepted_ones(completed):
    record = json.loads((completed / "completed/record.json").read_text())
    for task, other in (("one", "two"), ("two", "one")):
        judged, listed = record["tasks"][task], rows(completed, task)
        pseudo = [row for row in listed if row["case"].startswith(f"{other}__")]
        assert [row["case"] for row in pseudo] == [f"{other}__{other}_{k}" for k in range(3)], "training cases alone"
        assert judged["accepted"] == 3
        assert [row["split"] for row in listed[:CASES]] == ["train"] * 3 + ["val"] + ["test"] * 2
        assert {(row["namespace"], row["split"]) for row in pseudo} == {(other, "train")}
        assert judged["ranges"][task] == {"least_ml": 0.168, "most_ml": 0.168, "most_components": 1}
        block = yaml.safe_load((completed / f"conf/task/{task}_completed.yaml").read_text())
        assert block["source"]["pseudo"] == [row["case"] for row in pseudo]
        assert (block["source"]["pseudo_weight"], block["source"]["licence"]) == (0.5, "CC BY 4.0")


def test_a_label_of_the_dataset_is_never_claimed(completed):
    seen = set()
    for row in rows(completed, "two")[CASES:]:
        own = row["CT"].replace("imagesTr", "labelsTr").replace("_0000", "")
        pseudo, labelled = read_label(row["label"], [row["CT"]]), read_label(own, [row["CT"]]) > 0
        assert set(np.unique(pseudo[labelled])) <= {0, 8}, "8 is ignored: the next value after that of the files"
        seen |= set(np.unique(pseudo[~labelled]))
    assert seen == {0, 7}, "values of the files, as label_map names them"


def test_nothing_is_done_twice_and_other_thresholds_judge_anew(completed):
    paths = sorted((completed / "completed").glob("*/judged/*.json"))
    before = [path.stat().st_mtime_ns for path in paths]
    assert len(paths) == 6
    succeed("complete", *GIVEN, *ANYTHING, "loss_weight=0.25", cwd=completed)
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert "pseudo_weight: 0.25" in (completed / "conf/task/one_completed.yaml").read_text()
    done = succeed("complete", *GIVEN, "structures=[one]", "output=strict", "least_confidence=1", cwd=completed)
    assert "one: 0 of 3 cases accepted; no task file is written" in done.stderr
    assert not list((completed / "strict").glob("*/labels/*"))
    assert not (completed / "strict/two").exists()


def test_pseudo_labels_weigh_less_in_training(completed):
    succeed("prepare", "task=[one_completed]", "num_workers=1", "paths.cache=cache", cwd=completed)
    cache = TaskCache(completed / "cache/one_completed")
    pseudo = {row["case"] for row in rows(completed, "one")[CASES:]}
    assert set(cache.loss_weights) == pseudo
    settings = StreamSettings(batch_size=8, patch_size=(8, 16, 16), num_workers=0)
    data = UniSegDataModule([cache.task.name], completed / "cache", settings)
    requests = data.train_stream.batch(0)
    assert {request.loss_weight for request in requests} == {cache.loss_weights[min(pseudo)], 1.0}
    assert all((request.loss_weight < 1) == (request.case_id in pseudo) for request in requests)
    loader = data.batches("train", torch.device("cpu"))
    batch = next(iter(loader))
    loader.close()
    assert batch.loss_weight.tolist() == [request.loss_weight for request in requests]


def test_what_cannot_be_completed(completed):
    (completed / "conf/task/two_completed.yaml").write_text("# @package tasks.mine\n")
    done = run("complete", *GIVEN, cwd=completed)
    assert done.returncode == 2
    assert "a task file that uniseg complete did not write" in done.stderr
    done = run("complete", *GIVEN, "teachers=[teacher,teacher]", cwd=completed)
    assert "two teachers of 'one'" in done.stderr
    done = run("complete", *GIVEN, "structures=[nose]", cwd=completed)
    assert "'nose' (teachers: one of CT, two of CT; datasets: one of CT, two of CT)" in done.stderr
