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
from uniseg.scans.case import Case
from uniseg.scans.inputs import find_inputs
from uniseg.task import Task

AUTO = "auto"


def predict(config: DictConfig) -> list[Path]:
    """One label map per scan and task, under ``<output>/<task>/``; with ``merge`` one per scan, under ``<output>/merged/``.

    Raises:
        InputError: anything wrong with the scans, the tasks asked, the checkpoint.
    """
    given = OmegaConf.to_container(config.input) if OmegaConf.is_list(config.input) else config.input
    cases = find_inputs(given)
    predictor = make_predictor(config.checkpoint, config.task_files, config.inference)
    tasks = predictor.model.tasks
    chosen = [tasks[tasks.position(name)] for name in chosen_tasks(predictor, config.tasks, config.modality)]
    written = []
    for case in track(cases, "predict", console=Console(stderr=True)):
        images = {task.name: arrange(task, case, config.modality) for task in chosen}
        if config.merge:
            written.append(predictor.predict_merged(case.case_id, images, Path(config.output)))
        else:
            written += predictor.predict_case(case.case_id, images, Path(config.output))
    return written


def arrange(task: Task, case: Case, modality: Sequence[str] | None) -> tuple[Path | None, ...]:
    """The files of a case in the task's own order, None where it lacks a modality; as they come where ``modality`` does not name them.

    Raises:
        InputError: another number of files than names, or one file of several modalities in another order than the task's.
    """
    if modality is None:
        return case.image_paths
    if len(case.image_paths) == 1 < len(modality):
        if tuple(modality) != task.modalities:
            raise InputError(case.image_paths[0], f"one file of {list(modality)}", f"{list(task.modalities)}, in this order", "give one file per modality")
        return case.image_paths
    if len(modality) != len(case.image_paths):
        raise InputError(case.image_paths[0], f"{len(case.image_paths)} files", f"one for each of {list(modality)}", "correct modality=[...] or the input")
    by_name = dict(zip(modality, case.image_paths, strict=True))
    return tuple(by_name.get(name) for name in task.modalities)


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
