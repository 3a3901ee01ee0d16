"""The folder ``./conf`` where a command is started: searched first; its task files are data, never code."""

import logging
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from uniseg.commands.dataset_conf import DatasetFiles, yaml_reason
from uniseg.commands.task_block import FIX, PACKAGE, check_block
from uniseg.environment import CONF_DIR, LOCAL_CONF
from uniseg.errors import InputError
from uniseg.renamed import KEYS, Renamer

TASK_GROUP = "task"
log = logging.getLogger(__name__)


class LocalConf(SearchPathPlugin):
    """Files under ``./conf`` come before the packaged ones, if it has a folder of any packaged group.

    Examples:
        >>> from hydra.core.plugins import Plugins
        >>> Plugins.instance().register(LocalConf)
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.prepend("datasets", f"{DatasetFiles.scheme()}://{CONF_DIR}", anchor="main")
        is_there = any((LOCAL_CONF / folder).is_dir() for folder in group_folders())
        if is_there and not LOCAL_CONF.samefile(CONF_DIR):
            local = LOCAL_CONF.absolute()
            search_path.prepend("local", f"{LocalFiles.scheme()}://{local}", anchor="datasets")
            search_path.prepend("local datasets", f"{DatasetFiles.scheme()}://{local}", anchor="local")


class LocalFiles(FileConfigSource):
    """Reads a file of ``./conf``; one of ``task``, which may be a stranger's, only as the description of a task.

    Examples:
        >>> LocalFiles.scheme()
        'local'
    """

    @staticmethod
    def scheme() -> str:
        return "local"

    def load_config(self, config_path: str) -> ConfigResult:
        """As Hydra does, with old names replaced by those of today.

        Raises:
            InputError: no YAML; a task file with another package than ``tasks.<name>``, a defaults list, keys or types
                that no task has.
        """
        path = Path(self.path) / self._normalize_file_name(self._on_disk(config_path))
        try:
            result = super().load_config(self._on_disk(config_path))
        except yaml.YAMLError as error:
            raise InputError(path, yaml_reason(error), "YAML", FIX) from error
        except (UnicodeDecodeError, OmegaConfBaseException, ValueError) as error:
            raise InputError(path, " ".join(str(error).split()), "YAML in UTF-8", FIX) from error
        _rename(path, config_path, result)
        if Path(config_path).parts[0] == TASK_GROUP:
            _check_task(path, result)
        return result

    def is_config(self, config_path: str) -> bool:
        return super().is_config(self._on_disk(config_path))

    def _on_disk(self, config_path: str) -> str:
        """The path of a file; one of a group that was renamed may still lie in the group's old folder."""
        group = Path(config_path).parent.as_posix().replace("/", ".")
        folders = [old.replace(".", "/") for old, new in KEYS.items() if new == group]
        paths = [config_path, *(f"{folder}/{Path(config_path).name}" for folder in folders)]
        return next((path for path in paths if super(LocalFiles, self).is_config(path)), config_path)


@cache
def group_folders() -> tuple[str, ...]:
    """Of the packaged groups, without those nested in them, and of groups that were renamed."""
    files = (path.relative_to(CONF_DIR).parts for path in CONF_DIR.glob("*/**/*.yaml"))
    folders = {parts[0] for parts in files}
    return tuple(sorted(folders | {old for old, new in KEYS.items() if new in folders}))


def register() -> None:
    """Make Hydra look into ``./conf``, and into data-set files for their tasks."""
    Plugins.instance().register(LocalFiles)
    Plugins.instance().register(DatasetFiles)
    Plugins.instance().register(LocalConf)


def _rename(path: Path, config_path: str, result: ConfigResult) -> None:
    """Give the file the names of today, in place; each old name is logged once."""
    if not isinstance(result.config, DictConfig):
        return
    header = result.header["package"]
    package = Path(config_path).parent.as_posix().replace("/", ".") if header in (None, "_group_") else header
    values: Any = OmegaConf.to_container(result.config)
    renamer = Renamer()
    defaults = values.pop("defaults", None)
    values = renamer.config(values, "" if package in ("_global_", ".") else package)
    if isinstance(defaults, list):
        values = {"defaults": renamer.defaults(defaults), **values}
    if header not in (None, "_group_", "_global_"):
        result.header["package"] = renamer.key(header)
    if renamer.notes:
        result.config = OmegaConf.create(values)
    for note in renamer.notes:
        _tell(f"{path}: {note}.")


@cache
def _tell(line: str) -> None:
    log.warning(line)


def _check_task(path: Path, result: ConfigResult) -> None:
    package = result.header["package"]
    if package is None or not PACKAGE.fullmatch(package):
        first = f"# @package tasks.{path.stem}"
        raise InputError(
            path,
            f"the package '{package}'" if package else "no package",
            f"the first line '{first}'",
            "a task file describes one task, nothing else",
        )
    if not isinstance(result.config, DictConfig) or "defaults" in result.config:
        raise InputError(
            path, "a defaults list" if isinstance(result.config, DictConfig) else "a list", "the keys of one task", FIX
        )
    check_block(path, result.config)
