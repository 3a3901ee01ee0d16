"""Where the configuration lies, whether checked out or installed."""

from pathlib import Path

import yaml

from uniseg.task import Normalization, Task

_INSTALLED = Path(__file__).parent / "conf"
CONF_DIR = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "conf"


def read_task(name: str) -> Task:
    """The task that ``conf/task/<name>.yaml`` describes, without its source."""
    return make_task(name, yaml.safe_load((CONF_DIR / "task" / f"{name}.yaml").read_text()))


def make_task(name: str, values: dict) -> Task:
    """A task from the plain containers of its YAML block; keys that describe the source are not read."""
    fields = {key: values[key] for key in ("modalities", "classes", "spacing_mm")}
    normalization = [Normalization(**values["normalization"][modality]) for modality in values["modalities"]]
    return Task(name, normalization=tuple(normalization), **fields)
