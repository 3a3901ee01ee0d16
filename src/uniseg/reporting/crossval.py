"""A cross-validation's page: its folds, pooled scores with intervals, another tool's folds on the same cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from uniseg.evaluation.baseline import DEFINITION
from uniseg.evaluation.choose_postprocessing import kept
from uniseg.evaluation.crossval import VAL, CrossvalRecord
from uniseg.evaluation.records import ClassSummary, Summary, read_scores
from uniseg.files import write_bytes, write_text
from uniseg.inference.postprocessing import UNCHANGED, Choice
from uniseg.metrics.base import Metric
from uniseg.metrics.paired import ALPHA, FEWEST, FEWEST_NON_INFERIOR, Comparison
from uniseg.metrics.registry import packaged_metrics
from uniseg.reporting.best import compare_pooled
from uniseg.reporting.compare import Difference, differences, read_evaluated
from uniseg.reporting.compare_files import write_table
from uniseg.reporting.figures import box_figure
from uniseg.reporting.markup import render_page
from uniseg.reporting.pictures import picture
from uniseg.reporting.run import TaskResult, group_cases
from uniseg.reporting.training_cost import cost_rows
from uniseg.run_folder import CrossvalFolder
from uniseg.weights.transfer_report import WeightsReport

OURS, THEIRS = "ours", "theirs"
BOXES = "Dots: cases, out of fold. Boxes: quartiles, median in blue. Red tick: mean of the majority-vote baseline."


@dataclass(frozen=True)
class CrossvalPage:
    """What a page is made of.

    Attributes:
        pooled: of all folds.
        choices: of postprocessing, on the out-of-fold predictions.
        notes: on another tool's folds, whose scores lie in ``folder.others``; None: there are none.
        margin: of non-inferiority, in Dice.

    Examples:
        >>> def page_of(folder: CrossvalFolder) -> CrossvalPage:
        ...     return CrossvalPage(folder, Summary.read(folder.pooled.metrics), [], None, 0.02)
    """

    folder: CrossvalFolder
    pooled: Summary
    choices: Sequence[Choice]
    notes: Sequence[str] | None
    margin: float


@dataclass(frozen=True)
class FoldRow:
    """One fold: the cases that it held out, as its own network sees them.

    Examples:
        >>> FoldRow(0, 8, 2, 0.7, 0.7, 0.1, "0.1 hours").number
        0
    """

    number: int
    num_trained: int
    num_cases: int
    dice: float
    dice_nnunet: float
    baseline_dice: float
    took: str


@dataclass(frozen=True)
class ClassRow:
    """One class, pooled.

    Attributes:
        folds: its Dice in every fold.
        choice: of postprocessing; None where nothing was chosen.

    Examples:
        >>> ClassRow("liver", "tumour", 9, 10, ClassSummary(0.8, 0.1), 0.8, [0.7, 0.9], None).kept
        'all'
    """

    task: str
    class_name: str
    num_patients: int
    num_cases: int
    summary: ClassSummary
    dice_nnunet: float
    folds: Sequence[float]
    choice: Choice | None

    @property
    def kept(self) -> str:
        return "all" if self.choice is None else kept(self.choice)


@dataclass(frozen=True)
class Against:
    """All classes, and their mean, beside another tool's folds on the same patients.

    Examples:
        >>> def gain(against: Against) -> float:
        ...     return against.comparison.difference
    """

    rows: Sequence[Difference]
    mean: float
    other_mean: float
    comparison: Comparison
    notes: Sequence[str]

    def line(self) -> str:
        """For a person: both means, their difference, whether it is more than noise."""
        told = self.comparison
        between = f"{told.interval.low:+.3f} to {told.interval.high:+.3f}"
        if told.p is None:
            verdict = f"too few patients to tell, {FEWEST} are needed"
        else:
            verdict = f"p {told.p:.2g}" + ("" if told.p < ALPHA else ": cannot be told apart")
        means = f"Dice {self.mean:.3f} against {self.other_mean:.3f}"
        return (
            f"Beside the other folds, {told.num_patients} patients: {means}, "
            f"difference {told.difference:+.3f} ({between}; {verdict})."
        )


def write_crossval(page: CrossvalPage) -> list[str]:
    """Write the page with its picture, and ``comparison.csv`` where there is another tool; what a terminal is told.

    Raises:
        InputError: a file of a fold is missing or malformed.
    """
    folder, metric = page.folder, packaged_metrics()["dice"]
    record, scores = CrossvalRecord.read(folder.record), read_scores(folder.pooled.scores)
    summaries = [Summary.read(folder.fold(k).evaluation(VAL).metrics) for k in range(record.num_folds)]
    cases = group_cases(scores)
    tasks = [
        TaskResult(name, task, tuple(case for case in cases if case.task == name))
        for name, task in page.pooled.tasks.items()
    ]
    against = None if page.notes is None else compare_others(page, metric)
    boxes = picture("dice_per_case", BOXES, box_figure(tasks))
    values: dict[str, Any] = {
        "record": record,
        "pooled": page.pooled,
        "parameters": _parameters(folder),
        "folds": [fold_row(folder, number, summary) for number, summary in enumerate(summaries)],
        "classes": [row for task in tasks for row in class_rows(task, summaries, page.choices)],
        "boxes": boxes,
        "definition": DEFINITION,
        "against": against,
        "metric": metric,
        "margin": page.margin,
        "fewest": FEWEST_NON_INFERIOR,
        "ensemble": folder.ensemble,
    }
    text = render_page("crossval.html.jinja", **values)
    write_bytes(folder.report.figures / f"{boxes.name}.png", boxes.png)
    if against is not None:
        write_table({OURS: against.rows}, THEIRS, folder.report.path)
    write_text(folder.report.page, text)
    pooled = pooled_lines(page, len({score.patient_id for score in scores}))
    return [*pooled, *([] if against is None else [*against.notes, against.line()])]


def pooled_lines(page: CrossvalPage, num_patients: int) -> list[str]:
    """For a person: the pooled Dice, what postprocessing changes."""
    baseline = page.pooled.baseline_mean_dice
    changes = [
        f"Postprocessing of {each.task}, {each.class_name}: {kept(each)}, Dice {each.before:.3f} -> {each.after:.3f}."
        for each in page.choices
        if each.rule != UNCHANGED
    ]
    dice = f"Pooled: val Dice {page.pooled.mean_dice:.3f} of {num_patients} patients (majority vote {baseline:.3f})."
    return [dice, *changes]


def fold_row(folder: CrossvalFolder, number: int, summary: Summary) -> FoldRow:
    tasks, took = summary.tasks.values(), dict(cost_rows(folder.fold(number).path)).get("training took", "")
    trained = sum(task.data.cases_per_split.get("train", 0) for task in tasks if task.data is not None)
    cases = sum(task.num_cases for task in tasks)
    return FoldRow(
        number, trained, cases, summary.mean_dice, summary.mean_dice_nnunet, summary.baseline_mean_dice, took
    )


def class_rows(task: TaskResult, folds: Sequence[Summary], choices: Sequence[Choice]) -> list[ClassRow]:
    """One per foreground class."""
    chosen = {choice.class_name: choice for choice in choices if choice.task == task.name}
    counts = task.summary.num_patients, task.summary.num_cases
    return [
        ClassRow(
            task.name,
            name,
            *counts,
            summary,
            task.dice_nnunet(name),
            [fold.tasks[task.name].classes[name].dice for fold in folds],
            chosen.get(name),
        )
        for name, summary in task.summary.classes.items()
    ]


def compare_others(page: CrossvalPage, metric: Metric) -> Against:
    """Ours against theirs on the patients that both have."""
    ours, theirs = (read_evaluated(each.path, metric) for each in (page.folder.pooled, page.folder.others))
    rows = differences(ours, theirs, metric=metric, margin=page.margin)
    return Against(rows, *compare_pooled(ours, theirs), page.notes or ())


def _parameters(folder: CrossvalFolder) -> int | None:
    path = folder.fold(0).transfer_report
    return WeightsReport.read(path).total if path.is_file() else None
