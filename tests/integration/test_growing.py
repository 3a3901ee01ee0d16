"""A trained network takes a task; the task travels as a file."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from started import TINY, run, succeed
from uniseg import load_model

NEW = "phantom_kidney"
GROW = [
    "experiment=demo",
    "name=grown",
    *[o for o in TINY if not o.startswith(("task=", "model."))],
    f"task=[{NEW}]",
    "init=checkpoint",
]


@pytest.fixture(scope="module")
def grown(trained):
    """The run of three tasks, and beside it a run that adds a fourth."""
    succeed("prepare", *GROW, "init.checkpoint=x", cwd=trained)
    succeed("train", *GROW, "init.checkpoint=outputs/demo/checkpoints/last.ckpt", "finetune=prompt_only", cwd=trained)
    return trained


def first_scan(folder, name):
    return sorted((folder / f"outputs/phantoms/{name}/imagesTr").glob("*_0000.nii.gz"))[0]


def test_the_old_weights_and_answers_keep_their_bits(grown):
    base, more = (load_model(grown / f"outputs/{name}/checkpoints/last.ckpt") for name in ("demo", "grown"))
    assert more.tasks.names == (*base.tasks.names, NEW)
    state = more.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in base.state_dict().items())
    assert any(tensor.any() for name, tensor in state.items() if "adapters" in name and "up.weight" in name)
    changes = json.loads((grown / "outputs/grown/old_tasks.json").read_text())
    assert set(changes) == set(base.tasks.names)
    assert all(
        change["identical"] and change["largest"] == 0 and change["num_changed_voxels"] == 0 < change["num_voxels"]
        for change in changes.values()
    )
    assert set(more.provenance.data) == {*base.tasks.names, NEW}


def test_a_grown_run_goes_on(grown):
    settings = [
        *GROW,
        "init.checkpoint=outputs/demo/checkpoints/last.ckpt",
        "finetune=prompt_only",
        "run_dir=outputs/longer",
        "trainer.max_epochs=3",
    ]
    succeed("train", *settings, "ckpt_path=outputs/grown/checkpoints/last.ckpt", cwd=grown)
    longer, before = (
        load_model(grown / f"outputs/{name}/checkpoints/last.ckpt").state_dict() for name in ("longer", "grown")
    )
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, longer[name])}
    assert moved
    assert all(name.startswith("added.0.") for name in moved)


def test_all_may_move_and_the_change_is_reported(grown):
    settings = [
        *GROW,
        "init.checkpoint=outputs/demo/checkpoints/last.ckpt",
        "finetune=extend_full",
        "run_dir=outputs/moved",
        "trainer.max_epochs=1",
    ]
    succeed("train", *settings, cwd=grown)
    changes = json.loads((grown / "outputs/moved/old_tasks.json").read_text())
    assert all(not change["identical"] and change["largest"] > 0 for change in changes.values())


def test_the_task_file_predicts_what_the_grown_network_predicts(grown, tmp_path):
    grown_checkpoint, base = (grown / f"outputs/{name}/checkpoints/last.ckpt" for name in ("grown", "demo"))
    done = succeed(
        "export", f"checkpoint={grown_checkpoint}", f"added_task={NEW}", "output=kidney.safetensors", cwd=tmp_path
    )
    assert done.stdout.strip() == "kidney.safetensors"
    assert [path.name for path in tmp_path.iterdir()] == ["kidney.safetensors"]
    scan, maps = first_scan(grown, NEW), []
    for output, given in (
        ("a", [f"checkpoint={grown_checkpoint}"]),
        ("b", [f"checkpoint={base}", "task_files=[kidney.safetensors]"]),
    ):
        succeed(
            "predict",
            *given,
            f"input={scan}",
            f"output={output}",
            f"tasks=[{NEW},phantom_spleen]",
            "inference.device=cpu",
            cwd=tmp_path,
        )
        maps.append([np.asarray(nib.load(path).dataobj) for path in sorted((tmp_path / output).rglob("*.nii.gz"))])
    assert len(maps[0]) == 2
    np.testing.assert_array_equal(*maps)
    refused = run(
        "predict",
        f"checkpoint={grown_checkpoint}",
        "task_files=[kidney.safetensors]",
        f"input={scan}",
        "output=c",
        f"tasks=[{NEW}]",
        cwd=tmp_path,
    )
    assert refused.returncode == 2
    assert "error: kidney.safetensors: found task 'phantom_kidney', which the network has" in refused.stderr
    assert not (tmp_path / "c" / NEW).exists()


def test_an_extension_of_nothing_is_refused(grown):
    done = run("train", *GROW[:-1], "finetune=prompt_only", "run_dir=outputs/nothing", cwd=grown)
    assert done.returncode == 2
    assert "add init=checkpoint" in done.stderr
    assert not (grown / "outputs/nothing/checkpoints").exists()
