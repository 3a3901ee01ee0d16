"""Data-set files for Hydra: ``dataset=x`` chooses all tasks of ``conf/dataset/x.yaml``, ``task=y`` one of them."""

from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from uniseg.commands.task_block import FIX, PACKAGE, check_block
from uniseg.datasets.dataset_file import GROUP, TASKS, declared_tasks, task_blocks
from uniseg.errors import InputError

TASK_GROUP = "task"


class DatasetFiles(FileConfigSource):
    """Serves the tasks of the files in a folder's ``dataset``; everything else there is left to the other sources.

    Examples:
        >>> DatasetFiles.scheme()
        'datasets'
    """

    @staticmethod
    def scheme() -> str:
        return "datasets"

    def load_config(self, config_path: str) -> ConfigResult:
        """The block of one task at ``tasks.<name>``, or those of a whole file at ``tasks``.

        Raises:
            InputError: no YAML, another shape, keys or types that no task has, or a task with a file of its own.
        """
        group, name = _parts(config_path)
        if group == GROUP:
            return self._result("tasks", read_blocks(Path(self.path) / GROUP / f"{name}.yaml"))
        own_file = Path(self.path) / TASK_GROUP / f"{name}.yaml"
        path = declared_tasks(Path(self.path))[name]
        if own_file.exists():
            raise InputError(own_file, f"task '{name}', which {path} declares too", "one of them", "rename one")
        return self._result(f"tasks.{name}", read_blocks(path)[name])

    def _result(self, package: str, values: Any) -> ConfigResult:
        return ConfigResult(
            provider=self.provider, path=self.full_path(), config=OmegaConf.create(values), header={"package": package}
        )

    def available(self) -> bool:
        return (Path(self.path) / GROUP).is_dir()

    def is_group(self, config_path: str) -> bool:
        return config_path in (GROUP, TASK_GROUP) and self.available()

    def is_config(self, config_path: str) -> bool:
        group, name = _parts(config_path)
        return group in (GROUP, TASK_GROUP) and name in self.list(group, ObjectType.CONFIG)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if results_filter == ObjectType.GROUP:
            return []
        if config_path == TASK_GROUP:
            return sorted(declared_tasks(Path(self.path)))
        return sorted(path.stem for path in Path(self.path).glob(f"{GROUP}/*.yaml")) if config_path == GROUP else []


def read_blocks(path: Path) -> dict[str, dict[str, Any]]:
    """The checked block of each task that a data-set file declares.

    Raises:
        InputError: as ``DatasetFiles.load_config``.
    """
    try:
        config = OmegaConf.load(path)
    except yaml.YAMLError as error:
        raise InputError(path, yaml_reason(error), "YAML", FIX) from error
    except (OSError, UnicodeDecodeError, OmegaConfBaseException, ValueError) as error:
        raise InputError(path, " ".join(str(error).split()), "YAML in UTF-8", FIX) from error
    if not isinstance(config, DictConfig) or "defaults" in config:
        raise InputError(path, "a defaults list or no mapping", "what tasks share, then tasks", FIX)
    values: Any = OmegaConf.to_container(config)
    blocks = task_blocks(values, path)
    for name, block in blocks.items():
        if not PACKAGE.fullmatch(f"tasks.{name}"):
            raise InputError(path, f"task '{name}'", "a name without dots and spaces", "rename it")
        check_block(path, OmegaConf.create(block), partial(_written_at, name, values[TASKS][name]))
    return blocks


def yaml_reason(error: yaml.YAMLError) -> str:
    """What is wrong, with its line."""
    mark = getattr(error, "problem_mark", None)
    reason = " ".join(str(getattr(error, "problem", None) or error).split())
    return reason if mark is None else f"line {mark.line + 1}: {reason}"


def _written_at(name: str, own: Any, key: str) -> str:
    is_own = isinstance(own, dict) and key.partition(".")[0].partition("[")[0] in own
    return f"{TASKS}.{name}.{key}" if is_own or key.startswith("classes") else key


def _parts(config_path: str) -> tuple[str, str]:
    group, _, name = config_path.removesuffix(".yaml").rpartition("/")
    return group, name
