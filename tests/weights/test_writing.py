"""A full disk while weights are written is one error that names the file; what was there stays."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from full_disk import small_disk
from samples import make_task, small_model
from uniseg import load_ensemble, load_model, save_model, save_task
from uniseg.models.uniseg import UniSegModel
from uniseg.task import TaskSet
from uniseg.weights.delta import save_delta
from uniseg.weights.ensemble import save_ensemble
from uniseg.weights.foreign.write_published import write_published

KIDNEY = make_task("kidney", classes=("background", "kidney"))


@pytest.fixture
def model() -> UniSegModel:
    made = small_model(TaskSet([make_task()]))
    made.extend([KIDNEY], adapter_channels=2)
    return made


def published(model: UniSegModel, path: Path) -> Path:
    return write_published(small_model(TaskSet([make_task()])), path)


WRITERS = {
    "folder": save_model,
    "task file": lambda model, path: save_task(model, "kidney", path),
    "delta": lambda model, path: save_delta(model, small_model(TaskSet([make_task()]), seed=1), path),
    "published": published,
}


def content(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_keeps_what_was_there(write: Callable, model, tmp_path):
    path = tmp_path / "out"
    with pytest.raises(OSError, match="out") as failed, small_disk():
        write(model, path)
    assert (failed.value.errno, failed.value.filename) == (errno.EFBIG, str(path))
    assert os.listdir(tmp_path) == []
    write(model, path)
    before = content(path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    with pytest.raises(OSError, match="out"), small_disk():
        write(model, path)
    assert content(path) == before
    assert os.listdir(tmp_path) == ["out"]


def test_a_full_disk_leaves_no_part_of_an_ensemble(model, tmp_path):
    path = tmp_path / "both"
    with pytest.raises(OSError, match="both") as failed, small_disk():
        save_ensemble([model, model], path)
    assert (failed.value.errno, failed.value.filename) == (errno.EFBIG, str(path))
    assert os.listdir(tmp_path) == []
    assert len(load_ensemble(save_ensemble([model, model], path))) == 2


def test_an_output_that_is_a_file_is_an_error_of_the_disk(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file/out") as failed:
        save_model(model, tmp_path / "file" / "out")
    assert failed.value.errno == errno.ENOTDIR
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_written_is_read(model, tmp_path):
    assert load_model(save_model(model, tmp_path / "out")).tasks == model.tasks
