"""The recipe on bases of other programs: nnU-Net's networks, nnssl's pre-trained encoders."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from started import TINY, succeed
from uniseg import load_model
from uniseg.commands import prepared as prepared_tasks
from uniseg.commands.builders import tasks_of
from uniseg.commands.like_base import follow_base, take_settings
from uniseg.commands.structured import settings_from
from uniseg.environment import CONF_DIR
from uniseg.train import training_run
from uniseg.training.control import FinetuneSettings
from uniseg.training.sawtooth import trunk_names
from uniseg.weights.foreign.open import open_source

FOLDER = Path(__file__).parents[1] / "weights/nnunet"


@pytest.fixture
def nnssl(tmp_path) -> Path:
    """nnU-Net's residual encoder with nnssl's adaptation plan beside it, as its exporter lays it out."""
    content = torch.load(FOLDER / "residual.pth", weights_only=False)
    plan = {"key_to_encoder": "encoder.stages", "recommended_downstream_patchsize": [8, 16, 16]}
    path = tmp_path / "ssl.pth"
    torch.save({"network_weights": content["network_weights"], "citations": [], "nnssl_adaptation_plan": plan}, path)
    return path


def planned(base, tmp_path, *overrides):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        given = [f"base={base}", "task=[phantom_stomach]", f"run_dir={tmp_path}/run", *overrides]
        config = compose("finetune", overrides=given)
    settings = settings_from(FinetuneSettings, config)
    lines = list(follow_base(config, open_source(take_settings(config, settings)), settings))
    return config, lines


def test_of_an_nnunet_all_follows(tmp_path):
    config, lines = planned(FOLDER / "plain.pth", tmp_path)
    assert "as in" in lines[0]
    assert list(config.data.patch_size) == [16, 8, 24]
    (task,) = tasks_of(config)
    assert task.spacing_mm == (2.0, 6.0, 1.0)
    assert (task.normalization[0].mode, task.normalization[0].mean) == ("fingerprint", 72.0)
    initialized = training_run(config).initialize_model(tasks_of(config))
    assert initialized.transfer.coverage > 0.9
    assert set(initialized.transfer.missing) == {
        f"head.convs.{i}.{part}" for i in (0, 1) for part in ("weight", "bias")
    }
    assert len(initialized.restored.factors) == 12
    assert initialized.restored.change < 1e-2 * initialized.restored.spread
    assert trunk_names(initialized.model, initialized.fresh) >= {
        "stem.convs.1.weight",
        "encoder.stages.2.1.conv.weight",
    }


def test_of_nnssl_stem_and_encoder_follow(nnssl, tmp_path):
    config, lines = planned(nnssl, tmp_path)
    assert "its own; the base knows none that it tells of" in lines[1]
    assert list(config.data.patch_size) == [8, 16, 16]
    assert tasks_of(config)[0].spacing_mm == (5, 5, 5)
    initialized = training_run(config).initialize_model(tasks_of(config))
    assert initialized.transfer.adapted == {"stem.convs.1.weight": "inflate_channels"}
    assert {name.split(".")[0] for name in initialized.transfer.missing} == {"decoder", "head"}
    trunk = trunk_names(initialized.model, initialized.fresh)
    assert "stem.convs.1.weight" not in trunk, "a first convolution that was made to fit learns with the new parts"
    assert "encoder.stages.1.1.second.conv.weight" in trunk
    image = torch.randn(1, 1, 8, 16, 16)
    assert initialized.model(image, torch.tensor([0]))[0].shape == (1, 2, 8, 16, 16)


def test_a_base_that_tells_nothing_of_its_network_wants_the_configurations(nnssl, tmp_path):
    content = torch.load(nnssl, weights_only=False)
    weights = {name: tensor for name, tensor in content["network_weights"].items() if "transpconvs" not in name}
    torch.save(content | {"network_weights": weights}, nnssl)
    config, lines = planned(nnssl, tmp_path, "model/encoder=resenc_tiny")
    assert "does not describe its own" in lines[0]
    assert config.model.encoder._target_.endswith("ResidualEncoder")


@pytest.mark.parametrize("base", ["plain", "nnssl"])
def test_it_trains(base, prepared, nnssl, tmp_path, monkeypatch):
    made = prepared_tasks.prepare_tasks
    one = lambda config, folder, num_workers: made(config, folder, 1)  # noqa: E731
    monkeypatch.setattr(prepared_tasks, "prepare_tasks", one)
    path = {"plain": FOLDER / "plain.pth", "nnssl": nnssl}[base]
    settings = [
        each for each in TINY if not each.startswith(("task=", "model.", "data.patch_size", "trainer.max_epochs"))
    ]
    succeed(
        "finetune", f"base={path}", "task=[phantom_stomach]", "phantom=default", *settings, "augment=none",
        "trainer.max_epochs=1", "num_patients=1", "control=false", f"name=foreign_{base}", cwd=prepared,
    )  # fmt: skip
    model = load_model(prepared / f"outputs/foreign_{base}/checkpoints/last.ckpt")
    assert model.tasks.names == ("phantom_stomach",)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
