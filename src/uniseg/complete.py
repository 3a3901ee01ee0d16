"""``python -m uniseg.complete``: teachers label what datasets do not -> tasks with a person's and pseudo-labels."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("complete")

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from uniseg.commands.builders import make_predictor, require_datasets, sources_of, tasks_of
from uniseg.commands.structured import settings_from
from uniseg.datasets.dataset import find_datasets
from uniseg.environment import LOCAL_CONF
from uniseg.pseudo_labels.complete import Completion
from uniseg.pseudo_labels.settings import CompletionSettings


def complete(config: DictConfig) -> list[Path]:
    """The task files that were written, one for each structure of a teacher that some dataset does not label.

    Raises:
        InputError: bad data, a bad teacher, two teachers of one task, or none that fits a dataset.
    """
    sources = sources_of(config)
    require_datasets(sources)
    datasets = find_datasets(tasks_of(config), sources)
    paths = config.teachers if OmegaConf.is_list(config.teachers) else [config.teachers]
    return Completion(
        datasets,
        [(path, make_predictor(path, [], config.inference)) for path in paths],
        config.structures,
        settings_from(CompletionSettings, config),
        config.data.fold,
        Path(config.output),
        LOCAL_CONF / "task",
        say,
    ).run()


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(config: DictConfig) -> None:
    for path in complete(config):
        sys.stdout.write(f"{path}\n")
