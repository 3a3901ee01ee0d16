"""Files of earlier versions (``data/make.py``) are loaded as the networks that they were."""

import shutil
from pathlib import Path

import pytest
import torch

from uniseg import load_model

DATA = Path(__file__).parent / "data"
LICENCE = "CC BY 4.0"
NEWER, OLDER = "e5d578d", "4c9e9e8"


@pytest.fixture(scope="module", params=[NEWER, OLDER])
def version(request, tmp_path_factory):
    """A commit with a folder of its files; those that both wrote alike lie in ``data`` alone."""
    folder = tmp_path_factory.mktemp("old") / "files"
    shutil.copytree(DATA, folder, ignore=shutil.ignore_patterns(OLDER))
    if request.param == OLDER:
        shutil.copytree(DATA / OLDER, folder, dirs_exist_ok=True)
    return request.param, folder


@pytest.mark.parametrize(
    ("path", "task_files", "base", "tasks"),
    [
        ("last.ckpt", [], None, ("liver", "tumour")),
        ("shared", [], None, ("liver", "tumour")),
        ("last.ckpt", ["kidney.safetensors"], None, ("liver", "tumour", "kidney")),
        ("kidney.delta.safetensors", [], "shared", ("liver", "tumour", "kidney")),
    ],
    ids=["checkpoint", "folder", "task file", "delta"],
)
def test_they_answer_as_then(version, path, task_files, base, tasks):
    commit, folder = version
    model = load_model(folder / path, [folder / name for name in task_files], base=base and folder / base)
    assert model.tasks.names == tasks
    assert model.tasks[1].regions == ((1, 2, 4), (2,))
    assert model.provenance.commit == commit
    assert model.provenance.data["liver"]["licence"] == LICENCE
    assert not model.training
    expected = torch.load(folder / "expected.pt", weights_only=True)
    with torch.inference_mode():
        for task_index, name in enumerate(tasks):
            torch.testing.assert_close(
                model(expected["image"], torch.tensor([task_index]))[0], expected["logits"][name], atol=1e-5, rtol=0
            )
