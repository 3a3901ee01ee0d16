"""``python -m uniseg.export``: checkpoint -> folder, task file or delta to share; graphs for other programs."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("export")

import sys
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from uniseg.artefacts.bundle import save_bundle
from uniseg.artefacts.graphs import save_onnx, save_programs
from uniseg.commands.structured import plain_value
from uniseg.errors import InputError
from uniseg.evaluation.records import Summary, TaskSummary
from uniseg.models.pretexts import is_pretrained_alone, without_pretexts
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import file_of_evaluation
from uniseg.weights.checkpoint import load_model
from uniseg.weights.delta import save_delta
from uniseg.weights.ensemble import ensemble_hash, load_ensemble, save_ensemble
from uniseg.weights.folder import save_model
from uniseg.weights.hashing import checkpoint_hash
from uniseg.weights.task_file import save_task

FOLDER = "folder"
# Format for programs that do not know uniseg -> what writes it.
WRITERS = {"onnx": save_onnx, "torch_export": save_programs, "bundle": save_bundle}


def export(config: DictConfig) -> Path:
    """The folder, of several checkpoints an ensemble's; with scores on its card where given; for one added task, or for
    what a base has not, a file.

    Raises:
        InputError: a bad checkpoint, scores of another one, keys that do not go together, or something else at
            ``output``.
    """
    if config.format != FOLDER:
        return _export_graphs(config)
    if config.tasks is not None or config.task_files:
        given = "tasks" if config.tasks is not None else "task_files"
        raise InputError(given, "format=folder", f"format={' or '.join(WRITERS)}", "leave it out: a folder holds all")
    if OmegaConf.is_list(config.checkpoint):
        return save_ensemble(load_ensemble(OmegaConf.to_container(config.checkpoint)), config.output)
    model: UniSegModel = load_model(config.checkpoint, base=config.base)
    if not is_pretrained_alone(model):
        model = without_pretexts(model)
    if config.delta_of is not None:
        return save_delta(model, load_model(config.delta_of), config.output)
    if config.added_task is not None:
        return save_task(model, config.added_task, config.output)
    if config.scores is not None:
        scores = card_scores(file_of_evaluation(config.scores), checkpoint_hash(config.checkpoint))
        model.provenance = replace(model.provenance, scores=scores)
    return save_model(model, config.output)


def _export_graphs(config: DictConfig) -> Path:
    given = [key for key in ("added_task", "delta_of", "base", "scores") if config[key] is not None]
    if given:
        raise InputError(given[0], f"format={config.format}", "format=folder", "leave one of the two out")
    checkpoint, tasks = map(plain_value, (config.checkpoint, config.tasks))
    models, weights = load_ensemble(checkpoint, config.task_files), ensemble_hash(checkpoint, config.task_files)
    return WRITERS[config.format](models, config.output, tasks, weights)


def card_scores(path: Path, checkpoint_hash: str) -> dict[str, dict]:
    """Task name -> what its row of the card shows, of an evaluation of the weights with this hash.

    Raises:
        InputError: unreadable, no metrics.json, or of other weights.
    """
    summary = Summary.read(path)
    if summary.checkpoint != checkpoint_hash:
        expected = f"of {checkpoint_hash}, which are exported"
        raise InputError(path, f"scores of weights {summary.checkpoint}", expected, "evaluate this checkpoint")
    return {name: card_row(task) for name, task in summary.tasks.items()}


def card_row(task: TaskSummary) -> dict[str, float | None]:
    """What a card shows of a task's scores."""
    means = {"dice": task.dice, "dice_nnunet": task.dice_nnunet, "blind_dice": task.baseline_dice}
    counts = {"num_cases": task.num_cases, "num_patients": task.num_patients}
    return counts | {key: None if value != value else value for key, value in means.items()}


def main(config: DictConfig) -> None:
    sys.stdout.write(f"{export(config)}\n")
