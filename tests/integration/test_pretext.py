"""Pretext tasks through the commands: beside segmentations and alone, resumed, evaluated, exported, fine-tuned."""

import json
from pathlib import Path

import pytest
import torch

from started import TINY, run, succeed
from uniseg import load_model

SETTINGS = [
    "experiment=demo", *TINY, "task=[phantom_liver,phantom_spleen,phantom_mae]", "pretext.mae.block=[8,8,8]",
    "augment=nnunet", "scheduler.exponent=0", "trainer.deterministic=true",
]  # fmt: skip


def checkpoint(folder, name):
    return folder / "outputs" / name / "checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def mixed(prepared) -> Path:
    """The folder after a training with a pretext task beside two segmentations, and its evaluation."""
    succeed("prepare", *SETTINGS, "num_workers=1", cwd=prepared)
    succeed("train", *SETTINGS, "name=mixed", cwd=prepared)
    return prepared


def test_a_resumed_run_ends_as_a_whole_one(mixed):
    succeed("train", *SETTINGS, "name=parts", "trainer.max_epochs=1", cwd=mixed)
    succeed("train", *SETTINGS, "name=parts", "ckpt_path=last", cwd=mixed)
    one, two = (torch.load(checkpoint(mixed, name), weights_only=True)["state_dict"] for name in ("mixed", "parts"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    header = (mixed / "outputs/mixed/logs/metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/loss/phantom_mae", "train/loss/phantom_mae"} <= set(header)
    assert not any(key.startswith("val/pseudo_dice/phantom_mae") for key in header)


def test_it_is_evaluated_and_reported_without_the_pretext_task(mixed):
    succeed("evaluate", *SETTINGS, "name=mixed", "rules.surfaces=false", cwd=mixed)
    metrics = json.loads((mixed / "outputs/mixed/evaluation/metrics.json").read_text())
    assert list(metrics["tasks"]) == ["phantom_liver", "phantom_spleen"]
    succeed("report", "run=outputs/mixed", cwd=mixed)
    page = (mixed / "outputs/mixed/report/report.html").read_text()
    assert 'id="pretexts"' in page
    assert (mixed / "outputs/mixed/report/figures/pretext_phantom_mae.png").stat().st_size > 10_000


def test_an_export_is_an_ordinary_network(mixed):
    succeed("export", f"checkpoint={checkpoint(mixed, 'mixed')}", "output=exported", cwd=mixed)
    whole, exported = load_model(checkpoint(mixed, "mixed")), load_model(mixed / "exported")
    assert whole.tasks.names == ("phantom_liver", "phantom_spleen", "phantom_mae")
    assert exported.tasks.names == ("phantom_liver", "phantom_spleen")
    image, task = torch.randn(2, 1, 16, 32, 32), torch.tensor([0, 1])
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(whole(image, task), exported(image, task), strict=True))


@pytest.mark.slow
def test_pre_trained_alone_it_is_reported_and_fine_tuned(mixed):
    alone = [*SETTINGS, "task=[phantom_mae]", "name=alone"]
    succeed("train", *alone, cwd=mixed)
    refused = run("evaluate", *alone, cwd=mixed)
    assert refused.returncode == 2
    assert "no task but pretext tasks" in refused.stderr
    succeed("report", "run=outputs/alone", cwd=mixed)
    assert "nothing is scored" in (mixed / "outputs/alone/report/report.html").read_text()
    base, tune = (
        f"base={checkpoint(mixed, 'alone')}",
        ["experiment=demo_finetune", *TINY, "data.fold=0", "control=false"],
    )
    succeed("finetune", *tune, "task=[phantom_spleen]", base, "num_patients=2", "trainer.max_epochs=1", cwd=mixed)
    before, after = (load_model(checkpoint(mixed, name)).state_dict() for name in ("alone", "demo_finetune"))
    weights = json.loads((mixed / "outputs/demo_finetune/weights.json").read_text())
    assert before.keys() == after.keys()
    assert any(name.startswith("encoder.") for name in weights["transfer"]["loaded"])
    assert all(name.startswith(("head.", "conditioning.")) for name in weights["transfer"]["missing"])


@pytest.mark.slow
def test_fine_tuning_a_mixed_one_takes_its_prompts_and_leaves_its_pretexts(mixed):
    tune = [
        *SETTINGS[:-4],
        "task=[phantom_liver,phantom_spleen]",
        "init=checkpoint",
        "name=tuned",
        "trainer.max_epochs=1",
    ]
    succeed("train", *tune, f"init.checkpoint={checkpoint(mixed, 'mixed')}", cwd=mixed)
    weights = json.loads((mixed / "outputs/tuned/weights.json").read_text())
    assert not weights["transfer"]["missing"]
    assert load_model(checkpoint(mixed, "tuned")).tasks.names == ("phantom_liver", "phantom_spleen")
