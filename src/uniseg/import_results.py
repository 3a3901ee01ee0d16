"""``uniseg import``, as a module ``uniseg.import_results``: trained nnU-Nets -> folders that every command takes."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("import")

import sys
from pathlib import Path

from omegaconf import DictConfig

from uniseg.commands.structured import plain_value
from uniseg.errors import InputError
from uniseg.evaluation.nnunet_folder import RECORD, describe, find_images, write_folder
from uniseg.weights.foreign.nnunet_results import find_configurations, import_configuration


def import_results(config: DictConfig) -> list[Path]:
    """A folder per configuration whose network is one of ours, an ensemble of its folds; the rest is named.

    Raises:
        InputError: nothing there, or nothing that can be taken.
    """
    folders, refused = [], []
    images = plain_value(config.images)
    for source in find_configurations(config.results):
        folder = Path(config.output) / source.dataset / source.folder.name
        try:
            if not (folder / RECORD).is_file():
                say(f"{source.name}: reading {', '.join(fold.name for fold in source.folds())}")
                write_folder(import_configuration(source, f"checkpoint_{config.checkpoint}.pth"), folder)
            folders.append(folder)
        except InputError as error:
            refused.append(error)
            say(f"{source.name}: not taken: found {error.found}; expected {error.expected}")
            continue
        for line in describe(source, folder, find_images(images, source), config.nnunet_python):
            say(f"{source.name}: {line}")
    if not folders:
        raise refused[0]
    return folders


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(config: DictConfig) -> None:
    for folder in import_results(config):
        sys.stdout.write(f"{folder}\n")
