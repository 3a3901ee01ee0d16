"""A plan from the shell, then training on it."""

import shutil

import pytest
import yaml

from started import run, succeed
from uniseg import Predictor

TASKS = "task=[phantom_liver,phantom_whole_body_tumour]"
PLAN = [TASKS, "plan=true", "plan_width=[4,8]", "plan_precision=32-true", "num_workers=1"]


@pytest.fixture
def suite(prepared, tmp_path):
    """A folder with two phantom datasets, no cache."""
    for name in ("phantom_liver", "phantom_whole_body_tumour"):
        shutil.copytree(prepared / "outputs/phantoms" / name, tmp_path / "outputs/phantoms" / name)
    return tmp_path


def test_train_runs_on_the_plan(suite):
    done = succeed("prepare", *PLAN, "gpu_memory_gb=1.1", "plan_spacing=nnunet", cwd=suite)
    for words in ("phantom_liver", "patch covers", "memory 1.", "modelled", "measured on"):
        assert words in done.stderr
    assert not (suite / "outputs/cache").exists()
    planned = yaml.safe_load((suite / "conf/experiment/planned.yaml").read_text())
    succeed("prepare", "experiment=planned", "num_workers=1", cwd=suite)
    short = ["data.steps_per_epoch=2", "data.val_steps=1", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    succeed("train", "experiment=planned", *short, cwd=suite)
    config = yaml.safe_load((suite / "outputs/planned/config.yaml").read_text())
    assert config["data"]["patch_size"] == planned["data"]["patch_size"]
    assert config["model"]["encoder"]["strides"] == planned["model"]["encoder"]["strides"]
    assert config["tasks"]["phantom_liver"]["spacing_mm"] == planned["tasks"]["phantom_liver"]["spacing_mm"]
    mirrored = Predictor.from_pretrained(suite / "outputs/planned/checkpoints/last.ckpt").settings.mirror_axes
    assert list(mirrored) == planned["inference"]["mirror_axes"] == [0, 1, 2]  # predicted as it is scored


def test_the_network_that_was_planned_is_the_network_that_trains(suite):
    choice = [
        "model/encoder=resenc",
        "model/conditioning=one_hot",
        "model/head=dynamic",
        "model.head.width=6",
        "augment=no_mirror",
    ]
    done = succeed("prepare", *PLAN, *choice, "gpu_memory_gb=1.2", "budget=quick", "trainer.max_epochs=3", cwd=suite)
    assert "budget quick: 3 epochs, 300 steps" in done.stderr
    text = (suite / "conf/experiment/planned.yaml").read_text()
    assert "#   budget quick: 300 training steps, " in text
    planned = yaml.safe_load(text)
    assert {"override /model/encoder": "resenc"} in planned["defaults"]
    assert {"override /optimizer": "adamw"} in planned["defaults"]
    assert "optimizer adamw: sgd, the usual one, hardly learns in fewer than 5,000 steps" in done.stderr
    composed = succeed("train", "experiment=planned", "--cfg", "job", cwd=suite)
    config = yaml.safe_load(composed.stdout)
    stages = len(planned["model"]["encoder"]["channels"])
    assert config["model"]["encoder"]["_target_"].endswith("ResidualEncoder")
    assert config["model"]["encoder"]["blocks"] == [1, 3, 4, 6, 6, 6, 6][:stages]
    assert config["model"]["conditioning"]["_target_"].endswith("OneHot")
    assert config["model"]["head"]["width"] == 6
    assert (config["trainer"]["max_epochs"], config["data"]["steps_per_epoch"]) == (3, 100)
    assert (config["augment"]["mirror_axes"], config["inference"]["mirror_axes"]) == ([], [])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "gpu_memory_gb"),
        (["gpu_memory_gb=4", "model/encoder=segresnet"], "choose unet or resenc"),
        (["gpu_memory_gb=4", "budget=long"], "budget: found 'long'; expected one of quick, standard, published"),
        (["gpu_memory_gb=0.5"], "room for the smallest patch"),
        (
            ["gpu_memory_gb=4", "tasks.phantom_liver.source.splits={train: [], val: [], test: [liver_000]}"],
            "no train case",
        ),
    ],
)
def test_what_cannot_be_planned_is_one_line(suite, overrides, message):
    done = run("prepare", *PLAN, *overrides, cwd=suite)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not (suite / "conf").exists()
