"""A run folder in memory: what training logged, what evaluation scored."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniseg.errors import InputError
from uniseg.evaluation.case_record import CaseRecord, read_cases
from uniseg.evaluation.records import Score, Summary, TaskSummary, read_scores
from uniseg.evaluation.summary import mean
from uniseg.reporting.run_files import Curve, read_config, read_curves
from uniseg.run_folder import EvaluationFolder, RunFolder
from uniseg.task import PRETEXT

FIX = "evaluate again"


@dataclass(frozen=True)
class CaseResult:
    """One scored case: a Score per foreground class, in the task's order.

    Examples:
        >>> CaseResult("liver", "a", "p", (Score("liver", "a", "p", "tumour", 0.5, 0.5, 0.1, 1.0, 1.0),)).dice
        0.5
    """

    task: str
    case_id: str
    patient_id: str
    scores: tuple[Score, ...]

    @property
    def dice(self) -> float:
        """Mean over the classes."""
        return mean(score.dice for score in self.scores)

    @property
    def baseline_dice(self) -> float:
        """Mean over the classes."""
        return mean(score.baseline_dice for score in self.scores)


@dataclass(frozen=True)
class TaskResult:
    """One task: its means, its cases in the order of the score file.

    Examples:
        >>> from uniseg.evaluation.records import ClassSummary
        >>> summary = TaskSummary(0.8, 0.8, 0.1, 3, 2, {"tumour": ClassSummary(0.8, 0.1)})
        >>> TaskResult("liver", summary, ()).class_names
        ('tumour',)
    """

    name: str
    summary: TaskSummary
    cases: tuple[CaseResult, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Foreground, in the task's order."""
        return tuple(self.summary.classes)

    def dice_nnunet(self, class_name: str) -> float:
        """Mean by nnU-Net's convention, which the summary holds for the whole task alone."""
        return mean(s.dice_nnunet for case in self.cases for s in case.scores if s.class_name == class_name)


@dataclass(frozen=True)
class Run:
    """Everything that a page tells.

    Attributes:
        config: the resolved configuration as plain containers.
        curves: by log key, e.g. ``train/loss/<task>``.
        summary: None where pretext tasks alone were learnt, of which nothing is scored; ``tasks`` is empty then.
        records: by (task, case_id).

    Examples:
        >>> len(read_run(Path("outputs/demo")).cases)  # doctest: +SKIP
        92
    """

    name: str
    config: Mapping[str, Any]
    curves: Mapping[str, Curve]
    summary: Summary | None
    tasks: tuple[TaskResult, ...]
    records: Mapping[tuple[str, str], CaseRecord]

    @property
    def cases(self) -> tuple[CaseResult, ...]:
        return tuple(case for task in self.tasks for case in task.cases)


def read_run(run_dir: Path) -> Run:
    """Read a run folder; images stay on disk (see ``CaseRecord.load``).

    Raises:
        InputError: a file is missing or malformed, two files tell of different tasks, cases or classes, or a scan,
            label or prediction is no longer what was scored.
    """
    folder = RunFolder(run_dir)
    evaluation = folder.reported
    config, curves = read_config(folder.config), read_curves(folder.log)
    if _is_pretraining(config):
        return Run(run_dir.resolve().name, config, curves, None, (), {})
    summary, cases = Summary.read(evaluation.metrics), group_cases(read_scores(evaluation.scores))
    records = {(record.task.name, record.case.case_id): record for record in read_cases(evaluation)}
    tasks = tuple(
        TaskResult(name, task, tuple(case for case in cases if case.task == name))
        for name, task in summary.tasks.items()
    )
    run = Run(run_dir.resolve().name, config, curves, summary, tasks, records)
    _require_whole(run, {case.task for case in cases}, evaluation)
    for record in records.values():
        record.require_unchanged()
    return run


def _is_pretraining(config: Mapping[str, Any]) -> bool:
    tasks = config.get("tasks") or {}
    return bool(tasks) and all(isinstance(each, Mapping) and each.get("kind") == PRETEXT for each in tasks.values())


def group_cases(scores: Sequence[Score]) -> list[CaseResult]:
    """By case, in order."""
    cases: dict[tuple[str, str, str], list[Score]] = defaultdict(list)
    for score in scores:
        cases[score.task, score.case_id, score.patient_id].append(score)
    return [CaseResult(*key, tuple(group)) for key, group in cases.items()]


def extremes(cases: tuple[CaseResult, ...]) -> list[tuple[str, CaseResult]]:
    """Best, median (the lower of two), worst by mean Dice; each case once, so fewer of fewer than three."""
    ranked = sorted(cases, key=lambda case: (case.dice, case.case_id))
    ranks = {len(ranked) - 1: "best", 0: "worst"}
    if len(ranked) > 2:
        ranks[(len(ranked) - 1) // 2] = "median"
    names = ranks if len(ranked) > 1 else {0: "only case"}
    return [(names[rank], ranked[rank]) for rank in sorted(names, reverse=True)]


def _require_whole(run: Run, scored: set[str], evaluation: EvaluationFolder) -> None:
    """
    Raises:
        InputError: files that tell of different tasks, cases or classes, or label maps of no run.
    """
    different = sorted(scored ^ {task.name for task in run.tasks})
    if different or not run.tasks:
        found = f"tasks that differ from {evaluation.metrics.name}: {', '.join(different) or 'none'}"
        raise InputError(evaluation.scores, found, "the same tasks", FIX)
    if run.summary.split is None or run.summary.checkpoint is None:
        raise InputError(evaluation.metrics, "scores of no run", "a split and a checkpoint", "give a run folder")
    for task in run.tasks:
        if task.summary.data is None:
            raise InputError(evaluation.metrics, f"'{task.name}' without modalities", "what was scored", FIX)
        for case in task.cases:
            _require_classes(task, case, run.records.get((task.name, case.case_id)), evaluation)


def _require_classes(
    task: TaskResult, case: CaseResult, record: CaseRecord | None, evaluation: EvaluationFolder
) -> None:
    names, where = list(task.class_names), f"case '{case.case_id}' of task '{task.name}'"
    scored = [score.class_name for score in case.scores]
    if scored != names:
        raise InputError(evaluation.scores, f"{where} with classes {scored}", f"{names}, each once", FIX)
    if record is None:
        raise InputError(evaluation.cases, f"no {where}", "every scored case", FIX)
    if list(record.task.classes[1:]) != names:
        found = f"{where} with classes {list(record.task.classes)}"
        raise InputError(evaluation.cases, found, f"background, then {names}", FIX)
