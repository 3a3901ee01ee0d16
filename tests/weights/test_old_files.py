"""Files of an earlier version (``data/make.py``, commit e5d578d) are loaded as the networks that they were."""

from pathlib import Path

import pytest
import torch

from uniseg import load_model

DATA = Path(__file__).parent / "data"
LICENCE = "CC BY 4.0"


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
def test_they_answer_as_then(path, task_files, base, tasks):
    model = load_model(DATA / path, [DATA / name for name in task_files], base=base and DATA / base)
    assert model.tasks.names == tasks
    assert model.tasks[1].regions == ((1, 2, 4), (2,))
    assert model.provenance.data["liver"]["licence"] == LICENCE
    assert not model.training
    expected = torch.load(DATA / "expected.pt", weights_only=True)
    with torch.inference_mode():
        for position, name in enumerate(tasks):
            torch.testing.assert_close(
                model(expected["image"], torch.tensor([position]))[0], expected["logits"][name], atol=1e-5, rtol=0
            )
