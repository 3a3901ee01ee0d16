"""The shape of every configuration: put where Hydra finds it, and held against what a user gave."""

from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict

from uniseg.commands.bounds import as_text, check, settings_of, values_at
from uniseg.commands.group_bounds import bounds_in, rules_in
from uniseg.commands.roots import ROOTS, PrepareConfig
from uniseg.environment import CONF_DIR
from uniseg.run_folder import RunFolder
from uniseg.settings import Bound
from uniseg.training.logs import tracked


def bounds_of(root: str) -> dict[str, Bound]:
    """By dotted key, ``*`` for any name, of what the schema of ``conf/<root>.yaml`` describes."""
    return {setting.key: setting.bound for setting in settings_of(ROOTS[root]) if setting.bound is not None}


def text_keys(root: str) -> list[str]:
    """Dotted keys whose values are text, ``*`` for any name."""
    return [setting.key for setting in settings_of(ROOTS[root]) if setting.is_text] + (
        ["import"] if root == "prepare" else []
    )


def check_settings(config: DictConfig, root: str) -> None:
    """Every value within its bounds; numbers that a file gave where text of any shape is meant become text, in place.

    Raises:
        InputError: names the setting, its value, the bounds.
    """
    for setting in settings_of(ROOTS[root]):
        for key, value in list(values_at(config, setting.key)) if setting.is_text and setting.has_any_shape else ():
            if as_text(value) != value:
                OmegaConf.update(config, key, as_text(value), merge=False)
    check(config, bounds_of(root) | bounds_in(config), rules_in(config))


def register() -> None:
    """Put every root's schema where a defaults list finds it; let YAML name its own folder, and a run for loggers."""
    OmegaConf.register_new_resolver("uniseg_conf", lambda: str(CONF_DIR), replace=True)
    OmegaConf.register_new_resolver(
        "evaluation_dir", lambda run_dir, split: str(RunFolder(Path(run_dir)).evaluation(split).path), replace=True
    )
    OmegaConf.register_new_resolver("tracked", tracked, replace=True)
    OmegaConf.register_new_resolver(
        "is_inside", lambda path, folder: Path(path).resolve().is_relative_to(Path(folder).resolve()), replace=True
    )
    prepare = OmegaConf.structured(PrepareConfig)
    with open_dict(prepare):
        prepare["import"] = None
    store = ConfigStore.instance()
    for name, node in (ROOTS | {"prepare": prepare}).items():
        store.store(name=f"{name}_schema", node=node)
