"""Scores of cases -> means over cases, then classes, then tasks."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from uniseg.evaluation.baseline import DEFINITION
from uniseg.evaluation.csv_cells import NAN
from uniseg.evaluation.records import ClassSummary, Score, Summary, TaskData, TaskSummary
from uniseg.metrics.lesions import LesionCounts
from uniseg.metrics.paired import Interval, by_patient, mean_interval

RULES = (
    "Dice: mean over cases, then classes, then tasks. A class that reference and prediction both lack counts 1; "
    f"beside it nnU-Net's convention, which leaves such cases out. {DEFINITION}"
)


def summarise(scores: Sequence[Score], data: Mapping[str, TaskData] | None = None, **origin: Any) -> Summary:
    """Means of all tasks.

    Args:
        data: by task; tasks that it lacks have none.
        origin: other fields of ``Summary``.
    """
    by_task: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        by_task[score.task].append(score)
    tasks = {name: _summarise_task(group, (data or {}).get(name)) for name, group in by_task.items()}
    return Summary(
        mean_dice=mean(task.dice for task in tasks.values()),
        mean_dice_nnunet=mean(task.dice_nnunet for task in tasks.values()),
        baseline_mean_dice=mean(task.baseline_dice for task in tasks.values()),
        tasks=tasks,
        **origin,
    )


def _summarise_task(scores: Sequence[Score], data: TaskData | None) -> TaskSummary:
    by_class: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        by_class[score.class_name].append(score)
    classes = {name: summarise_class(group) for name, group in by_class.items()}
    return TaskSummary(
        dice=mean(each.dice for each in classes.values()),
        dice_nnunet=mean(mean(score.dice_nnunet for score in group) for group in by_class.values()),
        baseline_dice=mean(each.baseline_dice for each in classes.values()),
        num_cases=len({score.case_id for score in scores}),
        num_patients=len({score.patient_id for score in scores}),
        classes=classes,
        data=data,
    )


def summarise_class(scores: Sequence[Score]) -> ClassSummary:
    """Means over the cases of one class; the interval of the Dice, 95 %, is over patients; lesions are summed
    over the cases.
    """
    _, per_patient = by_patient([score.patient_id for score in scores], [score.dice for score in scores])
    counted = [score.lesions for score in scores if score.lesions is not None]
    lesions = sum(counted, LesionCounts(0, 0, 0))
    absent = [score for score in scores if score.reference_ml == 0]
    names = dict.fromkeys(name for score in scores for name in score.metrics)
    return ClassSummary(
        dice=mean(score.dice for score in scores),
        baseline_dice=mean(score.baseline_dice for score in scores),
        dice_interval=_dice_limits(mean_interval(per_patient)),
        metrics={name: mean(score.value(name) for score in scores) for name in names},
        volume_difference_ml=mean(score.volume_difference_ml for score in scores),
        lesion_sensitivity=lesions.sensitivity,
        lesion_f1=lesions.f1,
        false_lesions_per_case=lesions.false / len(counted) if counted else NAN,
        complete_misses=sum(score.complete_miss for score in scores),
        cases_without=len(absent),
        false_positive_ml=mean(score.prediction_ml for score in absent),
    )


def _dice_limits(interval: Interval) -> tuple[float, float]:
    """Cut to what a Dice can be."""
    return (max(interval.low, 0.0), min(interval.high, 1.0)) if interval.low <= interval.high else (NAN, NAN)


def mean(values: Iterable[float]) -> float:
    """Mean of what is not NaN; NaN where nothing is left."""
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else NAN


def summary_table(summary: Summary) -> Table:
    """Task means beside those of the majority-vote baseline."""
    table = Table("task", "cases", "Dice", "nnU-Net's", "baseline", caption=RULES)
    for name, task in summary.tasks.items():
        means = map(_text, (task.dice, task.dice_nnunet, task.baseline_dice))
        table.add_row(escape(name), str(task.num_cases), *means)
    table.add_section()
    means = map(_text, (summary.mean_dice, summary.mean_dice_nnunet, summary.baseline_mean_dice))
    table.add_row("mean", "", *means)
    return table


def _text(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
