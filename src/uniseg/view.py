"""``python -m uniseg.view``: scans with label maps -> one HTML page to look at them."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("view")

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from uniseg.commands.structured import settings_from
from uniseg.models.uniseg import UniSegModel
from uniseg.reporting.view import write_view
from uniseg.reporting.view_settings import ViewSettings
from uniseg.task import Task
from uniseg.weights.checkpoint import load_model


def view(config: DictConfig) -> Path:
    """The page.

    Raises:
        InputError: a file that cannot be read or lies on another grid, a bad checkpoint, no extra ``view``.
    """
    tasks: tuple[Task, ...] = ()
    if config.checkpoint is not None:
        model: UniSegModel = load_model(config.checkpoint, config.task_files)
        tasks = tuple(model.tasks)
    scans, labels, references = (_paths(config[key]) for key in ("scan", "labels", "reference"))
    settings = settings_from(ViewSettings, {"max_mb": config.max_mb})
    return write_view(scans, labels, Path(config.output), references=references, tasks=tasks, settings=settings)


def main(config: DictConfig) -> None:
    sys.stdout.write(f"{view(config)}\n")


def _paths(value: Any) -> list[Path]:
    """Of one file, or of a list; nothing where nothing is given."""
    if value is None:
        return []
    return [Path(each) for each in (value if OmegaConf.is_list(value) else [value])]
