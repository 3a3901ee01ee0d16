"""Task files of a stranger in ``./conf/task``: data, never code."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from uniseg.commands import local_conf
from uniseg.commands.builders import tasks_of
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError

TASK = """# @package tasks.mine
modalities: [CT]
classes: [background, thing]
spacing_mm: [3, 1.5, 1.5]
normalization:
  CT: {mode: zscore}
source:
  layout: nnunet
  root: ${paths.data}/mine
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to start in, with ./conf/task."""
    (tmp_path / "conf/task").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    local_conf.register()
    return tmp_path


GROUPS = sorted({str(path.parent.relative_to(CONF_DIR)) for path in CONF_DIR.glob("*/**/*.yaml")})


@pytest.mark.parametrize("group", [*GROUPS, "strategy"])
def test_a_folder_of_any_one_group_is_searched(group, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "conf" / group / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("{}\n")
    local_conf.register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        assert "mine" in GlobalHydra.instance().config_loader().get_group_options(group)


def test_a_folder_of_no_group_is_not_searched(tmp_path, monkeypatch):
    """Another program's ``./conf`` does not stand in for ours."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/db").mkdir(parents=True)
    (tmp_path / "conf/db/mysql.yaml").write_text("{}\n")
    local_conf.register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        assert not GlobalHydra.instance().config_loader().get_group_options("db")


@pytest.mark.parametrize(
    ("name", "choice", "text"),
    [
        ("model/encoder", "plain", "{_target_: mine.Plain, _partial_: true, channels: [4, 8]}"),
        ("loss", "mine", "{_target_: mine.Loss}"),
    ],
)
def test_an_encoder_or_a_loss_alone_is_chosen(name, choice, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / name).mkdir(parents=True)
    (tmp_path / "conf" / name / f"{choice}.yaml").write_text(text)
    local_conf.register()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", overrides=[f"{name}={choice}", "run_dir=."])
    assert OmegaConf.select(config, name.replace("/", "."))._target_.startswith("mine.")


def composed(text, *overrides, name="mine"):
    with open(f"conf/task/{name}.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("train", overrides=[f"task=[{name}]", "run_dir=.", *overrides])


def test_a_task_file_is_read(folder):
    (task,) = tasks_of(composed(TASK))
    assert (task.name, task.spacing_mm) == ("mine", (3, 1.5, 1.5))


def test_a_task_whose_name_is_a_number(folder):
    assert tasks_of(composed(TASK.replace("tasks.mine", "tasks.5"), name="five")).names == ("5",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# @package _global_\nhydra: {callbacks: {x: {_target_: os.system}}}\n" + TASK, "the package '_global_'"),
        (TASK.replace("tasks.mine", "hydra.callbacks"), "the package 'hydra.callbacks'"),
        (TASK.replace("tasks.mine", "tasks._global_.hydra"), "the package"),
        (TASK.replace("tasks.mine", "tasks._global_"), "the package"),
        (TASK.replace("# @package tasks.mine\n", ""), "no package"),
        (TASK + "defaults: [{/callbacks: default}]\n", "a defaults list"),
        (TASK + "  splits: {train: [{_target_: os.system}], test: []}\n", "_target_"),
        (TASK + "_target_: os.system\n", "_target_"),
        (TASK.replace("classes:", "clases:"), "line 3"),
        (TASK.replace("root: $", "rot: $"), "line 9"),
        (TASK.replace("[3, 1.5, 1.5]", "[3, thick, 1.5]"), "line 4"),
        (TASK.replace("mode: zscore", "mode: zscore, lower: low"), "line 6"),
        (TASK.replace("source:", "source: 7\nx:"), "line 7"),
        (TASK.replace("  layout", "\tlayout"), "line 8"),
        (TASK.replace("[CT]", "[CT"), "line 3"),
        (TASK + "classes: [a, b]\n", "line 10"),
        ("# @package tasks.mine\n- a\n", "a list"),
        ("# @package tasks.mine two\n", "Too many components"),
    ],
)
def test_a_task_file_that_is_more_or_less_than_a_task_is_refused(folder, text, message):
    with pytest.raises(InputError) as refusal:
        composed(text)
    assert str(refusal.value).startswith(str(folder / "conf/task/mine.yaml"))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_text_that_is_not_utf8_is_refused(folder):
    (folder / "conf/task/latin.yaml").write_bytes(TASK.encode() + "# Gro\xdf\n".encode("cp1252"))
    with pytest.raises(InputError, match="UTF-8"), initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        compose("train", overrides=["task=[latin]", "run_dir=."])


def test_nothing_of_a_stranger_runs(folder):
    """The file does not even reach the configuration that callbacks are made of."""
    marker = folder / "ran"
    evil = f"# @package _global_\nhydra:\n  callbacks:\n    x: {{_target_: pathlib.Path.touch, self: {marker}}}\n"
    with pytest.raises(InputError):
        composed(evil)
    assert not marker.exists()


OLD_EXPERIMENT = """# @package _global_
defaults:
  - demo
  - override /strategy: layer_decay
  - _self_

run_dir: outputs/${strategy.name}
strategy:
  adapter_channels: 8
augment:
  _target_: uniseg.stream.augment.draws.AugmentRecipe
"""


def test_an_experiment_with_old_names(folder, caplog):
    (folder / "conf/experiment").mkdir()
    (folder / "conf/experiment/mine.yaml").write_text(OLD_EXPERIMENT)
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", overrides=["experiment=mine"])
    assert (config.finetune.layer_decay, config.finetune.adapter_channels) == (0.7, 8)
    assert config.run_dir == "outputs/layer_decay"
    assert config.augment._target_ == "uniseg.sampling.augment.recipe.AugmentRecipe"
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "'strategy' is called 'finetune' now.",
        "'uniseg.stream.augment.draws.AugmentRecipe' is called 'uniseg.sampling.augment.recipe.AugmentRecipe' now.",
    ]


@pytest.mark.parametrize("folder_name", ["strategy", "finetune"])
@pytest.mark.parametrize("header", ["", "# @package strategy\n", "# @package finetune\n"])
def test_a_file_of_a_renamed_group(folder, folder_name, header):
    """It may still lie in the group's old folder."""
    (folder / "conf" / folder_name).mkdir()
    (folder / f"conf/{folder_name}/mine.yaml").write_text(f"{header}defaults: [full]\nlayer_decay: 0.3\nname: mine\n")
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", overrides=["finetune=mine", "run_dir=."])
    assert (config.finetune.layer_decay, config.finetune.name, config.finetune.extend) == (0.3, "mine", False)
