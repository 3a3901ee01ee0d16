"""``python -m uniseg.complete``: teachers label what datasets do not -> tasks with a person's and pseudo-labels."""

if __name__ == "__main__":  # before the imports of the work, which --help does without
    from uniseg.commands.app import run_and_exit

    run_and_exit("complete")

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from uniseg.commands.builders import make_predictor, require_datasets, sources_of, tasks_of
from uniseg.commands.structured import settings_from
from uniseg.datasets.dataset import Dataset, find_datasets
from uniseg.environment import LOCAL_CONF
from uniseg.errors import InputError
from uniseg.files import write_json
from uniseg.inference.predictor import Predictor
from uniseg.pseudo_labels.completed_task import completed_name, require_ours, write_completed
from uniseg.pseudo_labels.settings import CompletionSettings
from uniseg.pseudo_labels.teach import PseudoCase, Target, make_target, teach
from uniseg.task import Task

RECORD = "record.json"


def complete(config: DictConfig) -> list[Path]:
    """The task files that were written, one for each structure of a teacher that some dataset does not label.

    Raises:
        InputError: bad data, a bad teacher, two teachers of one task, or none that fits a dataset.
    """
    settings, fold = settings_from(CompletionSettings, config), config.data.fold
    sources, output, task_dir = sources_of(config), Path(config.output), LOCAL_CONF / "task"
    require_datasets(sources)
    datasets = find_datasets(tasks_of(config), sources)
    paths = config.teachers if OmegaConf.is_list(config.teachers) else [config.teachers]
    teachers = [(path, make_predictor(path, [], config.inference)) for path in paths]
    by_teacher = [(teacher, teacher_tasks(teacher, datasets, config.structures)) for _, teacher in teachers]
    require_teachers([task.name for _, tasks in by_teacher for task in tasks], config.structures or ())
    for _, tasks in by_teacher:
        for task in tasks:
            require_ours(task_dir / f"{completed_name(task)}.yaml")
    own = {dataset.task.name: dataset for dataset in datasets}
    written, record = [], {"settings": asdict(settings), "fold": fold, "tasks": {}}
    for (path, teacher), (_, tasks) in zip(teachers, by_teacher, strict=True):
        targets = [make_target(task, own.get(task.name), output, fold) for task in tasks]
        cases = label_datasets(teacher, datasets, targets, settings, fold)
        for target in targets:
            name = target.task.name
            record["tasks"][name] = describe(target, cases[name], path, teacher)
            if any(case.label_path for case in cases[name]):
                used = [dataset for dataset in datasets if fits(target.task, dataset)]
                written.append(write_completed(target, cases[name], used, task_dir, settings.loss_weight, fold))
            say(summary_line(target, cases[name]))
    write_json(output / RECORD, record)
    return written


def fits(task: Task, dataset: Dataset) -> bool:
    """Whether a dataset has the input of a task and does not label it."""
    return task.name != dataset.task.name and task.modalities == dataset.task.modalities


def teacher_tasks(teacher: Predictor, datasets: Sequence[Dataset], names: Sequence[str] | None) -> list[Task]:
    """Those that some dataset lacks, of the ``names`` that are wanted; None: all."""
    wanted = [task for task in teacher.model.tasks if names is None or task.name in names]
    return [task for task in wanted if any(fits(task, dataset) for dataset in datasets)]


def require_teachers(names: Sequence[str], wanted: Sequence[str]) -> None:
    """
    Raises:
        InputError: no task to teach, or one by two teachers.
    """
    missing = [name for name in wanted if name not in names]
    if not names or missing:
        found = f"no teacher of '{missing[0]}'" if missing else "no task to teach"
        expected = "a task with the modalities of a dataset that does not label it"
        raise InputError("teachers", found, expected, "give other teachers, or more datasets as task=[...]")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        fix = "export them as one ensemble, or leave one out"
        raise InputError("teachers", f"two teachers of '{twice[0]}'", "one for each task", fix)


def label_datasets(
    teacher: Predictor, datasets: Sequence[Dataset], targets: Sequence[Target], settings: CompletionSettings, fold: int
) -> dict[str, list[PseudoCase]]:
    """By task all judged cases: training cases, and val cases of what nobody labels."""
    cases: dict[str, list[PseudoCase]] = {target.task.name: [] for target in targets}
    for dataset in datasets:
        fitting = [target for target in targets if fits(target.task, dataset)]
        if not fitting:
            continue
        unlabelled = [target.task.name for target in fitting if target.labelled is None]
        splits = {"train": [target.task.name for target in fitting], **({"val": unlabelled} if unlabelled else {})}
        for name, found in teach(teacher, dataset, fitting, splits, settings, fold).items():
            cases[name] += found
    return cases


def describe(target: Target, cases: Sequence[PseudoCase], path: str, teacher: Predictor) -> dict[str, Any]:
    """What was accepted and refused, and why, in plain containers."""
    return {
        "teacher": str(path),
        "teacher_hash": teacher.checkpoint_hash,
        "ranges": {name: asdict(each) for name, each in target.ranges.items()},
        "accepted": sum(case.judgement.accepted for case in cases),
        "refused": sum(not case.judgement.accepted for case in cases),
        "cases": {case.name: {"split": case.split, **asdict(case.judgement)} for case in cases},
    }


def summary_line(target: Target, cases: Sequence[PseudoCase]) -> str:
    accepted = sum(case.judgement.accepted for case in cases)
    shapes = "" if target.ranges else "; shapes were not judged, since no dataset labels it"
    none = "" if accepted else "; no task file is written"
    return f"{target.task.name}: {accepted} of {len(cases)} cases accepted{shapes}{none}"


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(config: DictConfig) -> None:
    for path in complete(config):
        sys.stdout.write(f"{path}\n")
