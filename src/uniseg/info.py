"""``python -m uniseg.info``: what a network can segment, its licence, data, scores, memory."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("info")

import json
import sys

from omegaconf import DictConfig, OmegaConf

from uniseg.artefacts.model_info import ScanSize, as_text, describe


def info(config: DictConfig) -> dict:
    """Plain containers, as ``docs/deploy.md`` documents them.

    Raises:
        InputError: a bad checkpoint or task file.
    """
    checkpoint = config.checkpoint
    if OmegaConf.is_list(checkpoint):
        checkpoint = OmegaConf.to_container(checkpoint)
    return describe(checkpoint, config.task_files, ScanSize(tuple(config.shape), tuple(config.spacing_mm)))


def main(config: DictConfig) -> None:
    content = info(config)
    sys.stdout.write(f"{json.dumps(content, indent=1) if config.json else as_text(content)}\n")
