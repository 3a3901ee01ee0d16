"""``python -m uniseg.predict``: scans -> label maps in their own grid."""

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from uniseg.cli import entry_point, make_predictor
from uniseg.inference.files import predict_files


def predict(config: DictConfig) -> list[Path]:
    """One label map per scan and task, under ``<output>/<task>/``; with ``merge`` one per scan, under ``<output>/merged/``.

    Raises:
        InputError: anything wrong with the scans, the tasks asked, the checkpoint.
    """
    given, checkpoint, tasks = (OmegaConf.to_container(each) if OmegaConf.is_list(each) else each for each in (config.input, config.checkpoint, config.tasks))
    predictor = make_predictor(checkpoint, config.task_files, config.inference, config.postprocessing)
    choices = {"tasks": tasks, "modality": config.modality, "merge": config.merge, "probabilities": config.probabilities}
    return predict_files(predictor, given, config.output, **choices)


@entry_point("predict")
def main(config: DictConfig) -> None:
    for path in predict(config):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
