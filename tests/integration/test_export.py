"""Export: the folder predicts what the checkpoint predicts."""

import json

import nibabel as nib
import numpy as np
import torch

from started import TINY, run, succeed
from uniseg import load_model

NAME = "phantom_spleen"


def test_a_shared_folder_predicts_as_its_checkpoint(trained, tmp_path):
    checkpoint = trained / "outputs/demo/checkpoints/last.ckpt"
    done = succeed("export", f"checkpoint={checkpoint}", "output=shared", cwd=tmp_path)
    assert done.stdout.strip() == "shared"
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "README.md",
        "model.json",
        "model.safetensors",
        "shared",
    ]
    provenance = load_model(tmp_path / "shared").provenance
    splits = json.loads((trained / f"outputs/cache/{NAME}/splits.json").read_text())
    assert provenance.data[NAME]["test"] == splits["test"]
    assert provenance.commit
    assert "Strictest licence of the training data: none needed." in (tmp_path / "shared/README.md").read_text()
    scan = next((trained / f"outputs/phantoms/{NAME}/imagesTr").glob("*_0000.nii.gz"))
    maps = []
    for given, output in ((checkpoint, "a"), ("shared", "b")):
        succeed(
            "predict",
            f"checkpoint={given}",
            f"input={scan}",
            f"output={output}",
            f"tasks=[{NAME}]",
            "inference.device=cpu",
            cwd=tmp_path,
        )
        maps.append(np.asarray(nib.load(next((tmp_path / output / NAME).glob("*.nii.gz"))).dataobj))
    np.testing.assert_array_equal(*maps)
    assert maps[0].any()


def test_a_folder_that_is_no_model_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("export", "checkpoint=empty", "output=shared", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: empty/model.json: found No such file")
    assert done.stderr.count("\n") == 1


def test_a_delta_becomes_the_checkpoint_again(trained, tmp_path):
    """Against a base whose encoder it was trained from, it holds no encoder."""
    base = trained / "outputs/demo/checkpoints/last.ckpt"
    settings = [
        "experiment=demo",
        *TINY,
        "trainer.max_epochs=1",
        "init=checkpoint",
        f"init.checkpoint={base}",
        "finetune=frozen_encoder",
        "run_dir=outputs/tuned",
    ]
    done = succeed("train", *settings, cwd=trained)
    assert "100.0% of the numbers from" in done.stderr
    tuned = trained / "outputs/tuned/checkpoints/last.ckpt"
    succeed("export", f"checkpoint={tuned}", f"delta_of={base}", "output=delta", cwd=tmp_path)
    succeed("export", "checkpoint=delta", f"base={base}", "output=whole", cwd=tmp_path)
    state, whole = load_model(tuned).state_dict(), load_model(tmp_path / "whole").state_dict()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in state.items())
    before = load_model(base).state_dict()
    kept = {name for name in state if torch.equal(state[name], before[name])}
    coarsest = "head.convs.2.weight"  # no loss reaches it
    assert kept - {coarsest} == {name for name in state if name.startswith(("encoder.", "stem."))}
