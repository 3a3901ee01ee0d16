"""``python -m uniseg.predict``: scans -> label maps in their own grid."""

import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track

from uniseg.cli import entry_point, make_predictor
from uniseg.errors import InputError
from uniseg.inference.predictor import Predictor
from uniseg.scans.inputs import find_inputs

AUTO = "auto"


def predict(config: DictConfig) -> list[Path]:
    """One label map per scan and task, under ``<output>/<task>/``.

    Raises:
        InputError: anything wrong with the scans, the tasks asked, the checkpoint.
    """
    given = OmegaConf.to_container(config.input) if OmegaConf.is_list(config.input) else config.input
    cases = find_inputs(given)
    predictor = make_predictor(config.checkpoint, config.inference)
    names = chosen_tasks(predictor, config.tasks, config.modality)
    for name in names:
        predictor.model.tasks.position(name)
    written = []
    for case in track(cases, "predict", console=Console(stderr=True)):
        written += predictor.predict_case(case.case_id, case.image_paths, names, Path(config.output))
    return written


def chosen_tasks(predictor: Predictor, wanted: str | Sequence[str], modality: Sequence[str] | None) -> list[str]:
    """Task names; ``auto``: all that take the modalities.

    Raises:
        InputError: ``auto`` without modalities, or with some that no task takes.
    """
    if wanted != AUTO:
        return [wanted] if isinstance(wanted, str) else list(wanted)
    if modality is None:
        raise InputError("tasks=auto", "no modality", "what the channels are, in order", "add modality=[CT] or tasks=[...]")
    return predictor.fitting_tasks(modality)


@entry_point("predict")
def main(config: DictConfig) -> None:
    for path in predict(config):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
