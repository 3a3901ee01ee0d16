"""``python -m uniseg.export``: checkpoint -> folder, task file or delta to share."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("export")

import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from uniseg.errors import InputError
from uniseg.files import read_json
from uniseg.run_folder import file_of_evaluation
from uniseg.weights.checkpoint import file_hash, load_model
from uniseg.weights.delta import save_delta
from uniseg.weights.ensemble import load_ensemble, save_ensemble
from uniseg.weights.folder import save_model
from uniseg.weights.task_file import save_task

SCORES = ("num_cases", "num_patients", "dice", "dice_nnunet", "blind_dice")


def export(config: DictConfig) -> Path:
    """The folder, of several checkpoints an ensemble's; with scores on its card where given; for one added task, or for
    what a base has not, a file.

    Raises:
        InputError: a bad checkpoint, scores of another one, or something else at ``output``.
    """
    if OmegaConf.is_list(config.checkpoint):
        return save_ensemble(load_ensemble(OmegaConf.to_container(config.checkpoint)), config.output)
    model = load_model(config.checkpoint, base=config.base)
    if config.delta_of is not None:
        return save_delta(model, load_model(config.delta_of), config.output)
    if config.added_task is not None:
        return save_task(model, config.added_task, config.output)
    if config.scores is not None:
        model.origin["scores"] = read_scores(file_of_evaluation(config.scores), file_hash(config.checkpoint))
    return save_model(model, config.output)


def read_scores(path: Path, checkpoint_hash: str) -> dict[str, dict]:
    """Task name -> ``SCORES``, of an evaluation of the weights with this hash.

    Raises:
        InputError: unreadable, not such a file, or of other weights.
    """
    expected, fix = "metrics.json of uniseg.evaluate", "give scores=<run>/evaluation/metrics.json"
    content = read_json(path, expected, fix)
    try:
        scores = {name: {key: _count_or_mean(task[key]) for key in SCORES} for name, task in content["tasks"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(path, "a file of something else", expected, fix) from error
    if content.get("checkpoint") != checkpoint_hash:
        raise InputError(
            path,
            f"scores of weights {content.get('checkpoint')}",
            f"of {checkpoint_hash}, which are exported",
            "evaluate this checkpoint",
        )
    return scores


def _count_or_mean(value: float | None) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(value)
    return value


def main(config: DictConfig) -> None:
    sys.stdout.write(f"{export(config)}\n")
