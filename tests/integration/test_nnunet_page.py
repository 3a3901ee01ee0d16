"""Every command of docs/nnunet.md runs, in the order of the page; then a task is added to the imported network."""

import json
import shlex

import pytest

from cubes import ANYTHING, write_dataset
from nnunet_folder import trained
from pages import commands_of
from samples import make_task, small_model
from started import succeed
from uniseg import TaskSet, save_model
from uniseg.evaluation.verdict import Verdict

SHORT = (
    *(
        "data.patch_size=[8,16,16]",
        "data.batch_size=2",
        "data.steps_per_epoch=4",
        "data.val_steps=2",
        "data.num_workers=0",
    ),
    *("trainer.max_epochs=1", "trainer.accelerator=cpu", "inference.device=cpu", "callbacks.progress.refresh_rate=0"),
)
MORE = {
    "predict": ("inference.device=cpu", "modality=[CT]"),
    "finetune": SHORT,
    "complete": (*ANYTHING, "inference.device=cpu"),
    "prepare": ("num_workers=1",),
}
RESULTS = "Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture
def folder(tmp_path):
    """What the page takes as given: results of nnU-Net, scans, two datasets, a network for each."""
    made = trained(tmp_path / "results", configuration="3d_fullres")
    made.parent.rename(made.parents[1] / RESULTS.partition("/")[0])
    for value, name in ((5, "liver"), (7, "spleen")):
        write_dataset(tmp_path, name, value)
        task = make_task(name, classes=("background", name), spacing_mm=(1, 1, 1))
        save_model(small_model(TaskSet([task])), tmp_path / f"{name}_model")
    (tmp_path / "raw").mkdir()
    for place in ("in", "raw/Dataset004_Hippocampus"):
        (tmp_path / place).symlink_to(tmp_path / ("liver/imagesTr" if place == "in" else "liver"))
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_run(folder):
    for command in commands_of("nnunet.md"):
        given = command.replace("/data/nnUNet_results", "results").replace("/data/nnUNet_raw", "raw")
        line, _, names = given.partition("  # ")
        for name in names.split(",") if "<name>" in line else [""]:
            _, verb, *words = shlex.split(line.replace("<name>", name))
            if verb == "finetune":
                succeed("prepare", "task=[liver]", "num_workers=1", "paths.cache=outputs/cache", cwd=folder)
            succeed(verb, *words, *MORE.get(verb, ()), cwd=folder)
    record = json.loads((folder / "imported" / RESULTS / "nnunet.json").read_text())
    assert list(record["folds"]) == ["fold_0", "fold_1"]
    assert len(list((folder / "out").glob("*/liver_*.nii.gz"))) == 6
    assert len(list((folder / "outputs/cache").glob("*_completed"))) == 2
    (verdict,) = folder.glob("outputs/*/verdict.json")
    assert Verdict.read(verdict).num_patients == 1
    base = f"imported/{RESULTS}/fold_0"
    added = ["task=[liver]", "init=checkpoint", f"init.checkpoint={base}", "finetune=prompt_only", "name=more"]
    succeed("train", *added, *SHORT, "paths.cache=outputs/cache", cwd=folder)
    shared = ["checkpoint=outputs/more/checkpoints/last.ckpt", "added_task=liver", "output=liver.safetensors"]
    succeed("export", *shared, cwd=folder)
    given = [f"checkpoint={base}", "task_files=[liver.safetensors]", "input=in", "output=more", "tasks=[liver]"]
    succeed("predict", *given, *MORE["predict"], cwd=folder)
    assert len(list((folder / "more/liver").glob("*.nii.gz"))) == 6
