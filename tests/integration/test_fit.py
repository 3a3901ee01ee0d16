"""A training from Python is that of the command: the same patches, the same weights."""

from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from started import TINY, succeed
from uniseg import InputError, UniSegModel, load_model, save_model
from uniseg.commands.builders import make_callbacks, make_loggers
from uniseg.environment import CONF_DIR
from uniseg.run_folder import RunFolder
from uniseg.sampling.settings import StreamSettings
from uniseg.settings import as_plain
from uniseg.training.defaults import TrainerSettings, default_bar, default_callbacks, default_logger
from uniseg.training.fit import fit
from uniseg.training.modules import DownstreamModule, UpstreamModule
from uniseg.training.optimization import Optimization
from uniseg.training.speed import SpeedSettings

NAMES = ("phantom_liver", "phantom_spleen", "phantom_whole_body_tumour")
PATCH = (16, 32, 32)
DATA = StreamSettings(patch_size=PATCH, batch_size=2, steps_per_epoch=2, val_steps=3, num_workers=0)
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 1}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


def network(seed=0):
    torch.manual_seed(seed)
    return UniSegModel.from_preset("uniseg_tiny", NAMES, PATCH)


@pytest.fixture(scope="module")
def fitted(prepared, tmp_path_factory):
    """(model, trainer, folder) after two steps."""
    folder, model = tmp_path_factory.mktemp("fit") / "run", network()
    return model, fit(model, cache=prepared / "outputs/cache", run_dir=folder, data=DATA, **QUIET), folder


def test_two_steps_leave_a_checkpoint_that_loads(fitted):
    model, trainer, folder = fitted
    assert trainer.global_step == 2
    assert 0 <= trainer.callback_metrics["val/pseudo_dice"] <= 1
    saved = load_model(folder / "checkpoints/last.ckpt").state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())
    assert any(not torch.equal(tensor, saved[name]) for name, tensor in network().state_dict().items())
    log = (folder / "train.log").read_text()
    assert "Task phantom_liver: CT -> liver, tumour; cases: 4 train, 1 val, 2 test." in log
    assert "epoch 0, step 2: train loss " in log
    assert RunFolder(folder).prompt_evolution.exists(), "as the command"


def test_nothing_is_written_without_a_folder(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = network()
    plain = SpeedSettings.plain()
    trainer = fit(model, cache=prepared / "outputs/cache", tasks=NAMES[:1], data=DATA, speed=plain, **QUIET)
    assert trainer.global_step == 2
    weight = model.encoder.stages[1][0].conv.weight
    assert not weight.is_contiguous(memory_format=torch.channels_last_3d), "as speed says"
    assert list(tmp_path.iterdir()) == []


def test_the_command_trains_the_same_weights(fitted, prepared):
    """Given the same first weights, bit for bit."""
    model, _, folder = fitted
    first = folder.parent / "first"
    save_model(network(), first)
    settings = [
        *(each for each in TINY if not each.startswith("model.")), "data.steps_per_epoch=2", "trainer.max_epochs=1",
        "augment=nnunet", "optimizer=sgd", "optimizer.lr=0.01", "scheduler=poly", "data.foreground_fraction=0.33",
        "init=checkpoint", f"init.checkpoint={first}", f"run_dir={folder.parent / 'command'}",
    ]  # fmt: skip
    succeed("train", "experiment=demo", *settings, cwd=prepared)
    saved = load_model(folder.parent / "command/checkpoints/last.ckpt").state_dict()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("kind", [UpstreamModule, DownstreamModule])
def test_load_from_checkpoint(fitted, kind):
    model, _, folder = fitted
    module = kind.load_from_checkpoint(folder / "checkpoints/last.ckpt")
    assert all(torch.equal(tensor, module.model.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert module.task_indices.tolist() == [0, 1, 2]
    assert module.training
    assert set(module.history.data) == set(NAMES)
    assert module.new_optimizer().defaults["momentum"] == 0.99


def test_a_record_that_is_none_is_one_line(fitted, tmp_path):
    content = torch.load(fitted[2] / "checkpoints/last.ckpt", weights_only=True)
    content["uniseg"]["run"]["settings"]["finetune.unknown"] = 1
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"last\.ckpt.*unknown"):
        DownstreamModule.load_from_checkpoint(tmp_path / "last.ckpt")


def test_another_definition_of_a_task_is_refused(prepared):
    *tasks, last = network().tasks
    other = UniSegModel.from_preset("uniseg_tiny", [*tasks, replace(last, spacing_mm=(9, 9, 9))], PATCH)
    with pytest.raises(InputError, match="another definition of 'phantom_whole_body_tumour'"):
        fit(other, cache=prepared / "outputs/cache", data=DATA, **QUIET)


def test_the_defaults_are_those_of_the_yaml():
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", overrides=["run_dir=x"])
    assert as_plain(TrainerSettings()) == {key: value for key, value in config.trainer.items() if key != "_target_"}
    steps = config.data.steps_per_epoch
    default, given = (
        Optimization.with_steps(steps),
        Optimization(*(instantiate(config[name], _convert_="all") for name in ("loss", "optimizer", "scheduler"))),
    )
    assert vars(default.loss)["dice_weight"] == given.loss.dice_weight
    for one, other in ((default.optimizer, given.optimizer), (default.scheduler, given.scheduler)):
        assert isinstance(one, partial)
        assert (one.func, one.keywords) == (other.func, other.keywords)


def test_the_callbacks_and_the_logger_are_those_of_the_yaml(tmp_path):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", overrides=[f"run_dir={tmp_path}"])
    folder = RunFolder(tmp_path)
    given, default = make_callbacks(config.callbacks), [*default_callbacks(folder), default_bar()]
    assert settings_by_type(given) == settings_by_type(default)
    assert settings_by_type(make_loggers(config.logger)) == settings_by_type([default_logger(folder)])


def settings_by_type(made):
    """What each object was set to: its plain attributes; no clocks, nor the picture that only commands draw."""
    return {
        type(each): {
            key: value
            for key, value in vars(each).items()
            if isinstance(value, (str, int, float, Path, type(None))) and key not in ("_saved_at", "draw")
        }
        for each in made
    }


def test_it_takes_few_arguments():
    _, *named = [each for each in signature(fit).parameters.values() if each.kind is not each.VAR_KEYWORD]
    assert len(named) <= 8, "beside the model"


@pytest.mark.parametrize("preset", ["two_steps", "overfit"])
def test_a_debug_preset_runs(preset, prepared, tmp_path):
    tiny = [each for each in TINY if not each.startswith(("data.steps", "data.val", "trainer.max_epochs"))]
    short = ["trainer.max_epochs=1", "data.steps_per_epoch=2"] if preset == "overfit" else []
    succeed("train", "experiment=demo", *tiny, f"debug={preset}", *short, f"run_dir={tmp_path}", cwd=prepared)
    assert "epoch 0, step 2: train loss " in (tmp_path / "train.log").read_text()
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["name"] == f"debug_{preset}"
    assert isinstance(config["data"]["num_workers"], int)  # what was chosen in place of auto
    assert config["data"]["pin_memory"] is False
    assert load_model(tmp_path / "checkpoints/last.ckpt").tasks.names == NAMES


def test_no_command_leaves_an_empty_log(prepared):
    assert not list(prepared.rglob("prepare.log"))
    assert all(path.stat().st_size for path in prepared.rglob("*.log"))
