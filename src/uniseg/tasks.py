"""``python -m uniseg.tasks``: the tasks that were added to a base, beside it: list, add, remove."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("tasks")

import json
import sys
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig

from uniseg.errors import InputError
from uniseg.evaluation.records import Summary
from uniseg.export import card_row
from uniseg.models.uniseg import UniSegModel
from uniseg.run_folder import file_of_evaluation
from uniseg.weights.checkpoint import load_model
from uniseg.weights.licences import strictest
from uniseg.weights.task_hub import (
    AddedTaskEntry,
    add_task,
    installed_files,
    list_tasks,
    remove_task,
    require_folder,
    set_scores,
)

NEEDS = {"list": (), "add": ("file",), "remove": ("name",)}


def tasks(config: DictConfig) -> list[AddedTaskEntry]:
    """What lies beside the base after the action.

    Raises:
        InputError: a key that the action needs is missing; as of ``add_task`` and ``remove_task``; scores that do not
            hold the task.
    """
    require_folder(config.base)
    for key in NEEDS[config.action]:
        if config[key] is None:
            example = f"uniseg tasks {config.action} base={config.base} {key}=..."
            raise InputError(key, "nothing", f"a {key} to {config.action}", f"give {example}")
    if config.action == "add":
        scores = None if config.scores is None else Summary.read(file_of_evaluation(config.scores))
        entry = add_task(config.base, config.file, licence=config.licence or "", citation=config.citation or "")
        if scores is not None:
            if entry.name not in scores.tasks:
                remove_task(config.base, entry.name)
                fix = "evaluate the task that is added"
                raise InputError(config.scores, f"tasks {', '.join(scores.tasks)}", f"scores of {entry.name}", fix)
            set_scores(config.base, entry.name, card_row(scores.tasks[entry.name]))
    elif config.action == "remove":
        remove_task(config.base, config.name)
    return list_tasks(config.base)


def licence_of(base: str | Path, entries: list[AddedTaskEntry]) -> str:
    """The strictest of the base's training data and of all that was added."""
    model: UniSegModel = load_model(base)
    data = model.provenance.data
    own = [data.get(name, {}).get("licence", "") for name in {*model.tasks.names, *data}]
    return strictest([*own, *(entry.licence for entry in entries)])


def main(config: DictConfig) -> None:
    entries = tasks(config)
    installed_files(config.base)  # whether they are what they were
    licence = licence_of(config.base, entries)
    if config.json:
        content = {"base": config.base, "licence": licence, "tasks": [asdict(entry) for entry in entries]}
        sys.stdout.write(f"{json.dumps(content, indent=1)}\n")
        return
    for entry in entries:
        dice = entry.scores.get("dice")
        parts = [
            f"{entry.name}: {' + '.join(entry.modalities)} -> {', '.join(entry.classes[1:])}",
            f"licence {entry.licence or 'not recorded'}",
            "no scores" if dice is None else f"Dice {dice:.3f}",
            *([f"cite {entry.citation}"] if entry.citation else []),
        ]
        sys.stdout.write(f"{'; '.join(parts)}\n")
    sys.stdout.write(f"{len(entries)} added; strictest licence of base and tasks: {licence}\n")
