"""Teachers label what datasets do not: tasks of them all, judged labels, a record."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from uniseg.datasets.dataset import Dataset
from uniseg.errors import InputError
from uniseg.files import write_json
from uniseg.inference.predictor import Predictor
from uniseg.pseudo_labels.completed_task import completed_name, require_ours, write_completed
from uniseg.pseudo_labels.settings import CompletionSettings
from uniseg.pseudo_labels.teach import PseudoCase, Target, make_target, teach
from uniseg.task import Task

RECORD = "record.json"


@dataclass(frozen=True)
class Completion:
    """What is completed, by whom, where it is written.

    Attributes:
        teachers: path and network.
        structures: names of the tasks that are taught; None: all that some dataset lacks.
        output: of labels and record; ``task_dir``: of task files.
        say: told one line a task.

    Examples:
        >>> def complete(completion: Completion) -> list[Path]:
        ...     return completion.run()
    """

    datasets: Sequence[Dataset]
    teachers: Sequence[tuple[str, Predictor]]
    structures: Sequence[str] | None
    settings: CompletionSettings
    fold: int
    output: Path
    task_dir: Path
    say: Callable[[str], None]

    def run(self) -> list[Path]:
        """The task files that were written, one for each structure of a teacher that some dataset does not label.

        Raises:
            InputError: two teachers of one task, none that fits a dataset, a task file that is not ours.
        """
        by_teacher = [(teacher, teacher_tasks(teacher, self.datasets, self.structures)) for _, teacher in self.teachers]
        known = [task for _, teacher in self.teachers for task in teacher.model.tasks]
        inputs = f"teachers: {_inputs(known)}; datasets: {_inputs([dataset.task for dataset in self.datasets])}"
        require_teachers([task.name for _, tasks in by_teacher for task in tasks], self.structures or (), inputs)
        for _, tasks in by_teacher:
            for task in tasks:
                require_ours(self.task_dir / f"{completed_name(task)}.yaml")
        written, record = [], {"settings": asdict(self.settings), "fold": self.fold, "tasks": {}}
        for (path, teacher), (_, tasks) in zip(self.teachers, by_teacher, strict=True):
            written += self._teach(path, teacher, tasks, record["tasks"])
        write_json(self.output / RECORD, record)
        return written

    def _teach(self, path: str, teacher: Predictor, tasks: Sequence[Task], record: dict[str, Any]) -> list[Path]:
        own, written = {dataset.task.name: dataset for dataset in self.datasets}, []
        targets = [make_target(task, own.get(task.name), self.output, self.fold) for task in tasks]
        cases = label_datasets(teacher, self.datasets, targets, self.settings, self.fold)
        for target in targets:
            name = target.task.name
            record[name] = describe(target, cases[name], path, teacher)
            if any(case.label_path for case in cases[name]):
                used = [dataset for dataset in self.datasets if fits(target.task, dataset)]
                weight = self.settings.loss_weight
                written.append(write_completed(target, cases[name], used, self.task_dir, weight, self.fold))
            self.say(summary_line(target, cases[name]))
        return written


def fits(task: Task, dataset: Dataset) -> bool:
    """Whether a dataset has the input of a task and does not label it."""
    return task.name != dataset.task.name and task.modalities == dataset.task.modalities


def teacher_tasks(teacher: Predictor, datasets: Sequence[Dataset], names: Sequence[str] | None) -> list[Task]:
    """Those that some dataset lacks, of the ``names`` that are wanted; None: all."""
    wanted = [task for task in teacher.model.tasks if names is None or task.name in names]
    return [task for task in wanted if any(fits(task, dataset) for dataset in datasets)]


def _inputs(tasks: Sequence[Task]) -> str:
    return ", ".join(f"{task.name} of {'+'.join(task.modalities)}" for task in tasks)


def require_teachers(names: Sequence[str], wanted: Sequence[str], inputs: str) -> None:
    """
    Args:
        inputs: what teachers and datasets take, for the message.

    Raises:
        InputError: no task to teach, or one by two teachers.
    """
    missing = [name for name in wanted if name not in names]
    if not names or missing:
        found = f"no teacher of '{missing[0]}'" if missing else "no task to teach"
        found += f" ({inputs})"
        expected = "a task with the modalities of a dataset that does not label it"
        raise InputError("teachers", found, expected, "name modalities alike, or give others as teachers= or task=")
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
