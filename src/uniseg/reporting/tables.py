"""Numbers of a run as rows of text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uniseg.datasets.split_file import SPLITS
from uniseg.evaluation.baseline import DEFINITION
from uniseg.evaluation.csv_cells import NAN
from uniseg.evaluation.records import ClassSummary
from uniseg.metrics.base import Metric
from uniseg.metrics.registry import Metrics
from uniseg.reporting.run import Run, TaskResult

FEW_PATIENTS = 6
NOTHING = "–"  # noqa: RUF001
ELSEWHERE = ("tasks", "paths")  # the data have a table of theirs
UNSET = (None, -1)  # -1: Lightning's "no limit"
# A setting's name, then ends of its dotted key in the configuration; the first that is there counts.
SETTINGS = (
    ("name", ("name",)),
    ("encoder channels", ("encoder.channels", "channels")),
    ("patch (z, y, x)", ("patch_size",)),
    ("batch size", ("batch_size",)),
    ("steps per epoch", ("steps_per_epoch", "limit_train_batches")),
    ("epochs", ("max_epochs",)),
    ("steps", ("max_steps",)),
    ("precision", ("precision",)),
    ("learning rate", ("optimizer.lr", "lr", "learning_rate")),
    ("seed", ("seed",)),
)
RULE = (
    "Every mean is taken first over cases, then over classes, then over tasks. A class that is empty in reference "
    "and prediction counts 1 here; "
    f"nnU-Net's convention leaves such a case out of the class. {DEFINITION} The interval (95 %) is of the mean over "
    "patients: Student's, as far as a BCa bootstrap where that reaches further. NSD, HD95, ASSD: surface Dice at the "
    "tolerance of the evaluation, 95th percentile and mean of the surface distance; a class that only one of the two "
    "has gets 0 and the scan's diagonal. Missed: cases of which nothing was found."
)


@dataclass(frozen=True)
class DiceRow:
    """Scores of one class, or the Dice of the task's mean: text for the cells, fractions of 1 (None where unknown) for
    the bar; ``metrics`` are those beside the Dice.

    Examples:
        >>> _dice_row("mean", 0.8, 0.8, float("nan"), ()).dice
        '0.800'
    """

    name: str
    dice: str
    dice_nnunet: str
    baseline_dice: str
    bar: float | None
    baseline_bar: float | None
    metrics: tuple[str, ...]
    interval: str = ""
    misses: str = ""


@dataclass(frozen=True)
class TaskTable:
    """One task: facts, heads of the metrics beside the Dice, one row per class, the mean, a warning where there are few
    patients (else empty).

    Examples:
        >>> task_table(run.tasks[0], metrics).metric_heads  # doctest: +SKIP
        ('IoU', 'NSD', 'HD95, mm', 'ASSD, mm')
    """

    name: str
    modalities: str
    spacing_mm: str
    cases: str
    test: str
    patients: str
    licence: str
    warning: str
    metric_heads: tuple[str, ...]
    rows: tuple[DiceRow, ...]
    mean: DiceRow


@dataclass(frozen=True)
class CaseTable:
    """All cases of one task: ``head`` names the columns of ``rows``.

    Examples:
        >>> CaseTable("liver", ("case", "mean Dice"), (("case_7", "0.800"),)).head
        ('case', 'mean Dice')
    """

    name: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary_line(run: Run) -> str:
    if run.summary is None:
        return f"{_count(len(run.config['tasks']), 'pretext task')}, learnt without labels; nothing is scored."
    summary, patients = run.summary, len({case.patient_id for case in run.cases})
    counts = f"{_count(len(run.tasks), 'task')}, {_count(len(run.cases), 'case')}, {_count(patients, 'patient')}"
    return (
        f"Mean {summary.split} Dice {number(summary.mean_dice)} (nnU-Net's convention "
        f"{number(summary.mean_dice_nnunet)}); majority-vote baseline {number(summary.baseline_mean_dice)}; {counts}."
    )


def settings_rows(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of the key settings that the configuration holds."""
    leaves = sorted(_leaves(config), key=lambda leaf: leaf[0].count("."))
    values_of = [
        (name, [value for end in ends for key, value in leaves if f".{key}".endswith(f".{end}")])
        for name, ends in SETTINGS
    ]
    return [(name, _plain(values[0])) for name, values in values_of if values]


def changed_rows(config: Mapping[str, Any], default: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(key, value, what it is without an experiment) of every setting of a run that differs from ``conf/train.yaml``;
    tasks have a table of theirs. Empty without a default.
    """
    if not default:
        return []
    ours, usual = (
        {key: value for key, value in _every_leaf(values) if key.split(".")[0] not in ELSEWHERE}
        for values in (config, default)
    )
    run_dir = str(config.get("run_dir"))
    names = sorted(key for key in ours | usual if ours.get(key) != usual.get(key) and run_dir not in str(ours.get(key)))
    return [(key, _setting(ours, key), _setting(usual, key)) for key in names]


def _setting(values: Mapping[str, Any], key: str) -> str:
    return _plain(values[key]) if key in values else NOTHING


def data_rows(run: Run) -> list[tuple[str, ...]]:
    """Task, modalities, spacing, cases of each split, scored cases and patients, licence."""
    return [
        (
            task.name,
            ", ".join(task.summary.data.modalities),
            _plain(task.summary.data.spacing_mm),
            *_split_counts(task),
            str(task.summary.num_cases),
            str(task.summary.num_patients),
            task.summary.data.licence,
        )
        for task in run.tasks
    ]


def _split_counts(task: TaskResult) -> list[str]:
    return [str(task.summary.data.cases_per_split.get(split, 0)) for split in SPLITS]


def stage_rows(run: Run) -> list[tuple[str, str, str]]:
    """Stage of prediction, seconds a case, fraction of their sum; reading and writing overlap with the rest."""
    stages_s = (run.summary.stages_s if run.summary else None) or {}
    total = sum(stages_s.values())
    return (
        [
            (stage, f"{seconds / max(1, len(run.cases)):.2f}", f"{seconds / total:.0%}")
            for stage, seconds in stages_s.items()
        ]
        if total
        else []
    )


def task_table(task: TaskResult, metrics: Metrics) -> TaskTable:
    summary, data = task.summary, task.summary.data
    few = summary.num_patients < FEW_PATIENTS
    beside = [metric for name, metric in metrics.items() if name != "dice"]
    return TaskTable(
        task.name,
        modalities=", ".join(data.modalities),
        spacing_mm=_plain(data.spacing_mm),
        cases=" / ".join(_split_counts(task)),
        test=f"{_count(summary.num_cases, 'case')} of {_count(summary.num_patients, 'patient')}",
        patients=str(summary.num_patients),
        licence=data.licence,
        warning=f"small: {_count(summary.num_patients, 'patient')}; differences are not tests" if few else "",
        metric_heads=tuple(metric.head for metric in beside),
        rows=tuple(_class_row(task, name, each, beside) for name, each in summary.classes.items()),
        mean=_dice_row("mean", summary.dice, summary.dice_nnunet, summary.baseline_dice, ("",) * len(beside)),
    )


def case_table(task: TaskResult) -> CaseTable:
    """Cases by falling Dice; a class's cell holds its Dice, then reference -> prediction in ml."""
    ranked = sorted(task.cases, key=lambda case: (-case.dice, case.case_id))
    rows = (
        (
            case.case_id,
            case.patient_id,
            number(case.dice),
            number(case.baseline_dice),
            *(f"{number(s.dice)} ({volume(s.reference_ml)} → {volume(s.prediction_ml)} ml)" for s in case.scores),
        )
        for case in ranked
    )
    return CaseTable(task.name, ("case", "patient", "mean Dice", "baseline", *task.class_names), tuple(rows))


def number(value: float) -> str:
    """Three decimals; a dash for NaN."""
    return f"{value:.3f}" if value == value else NOTHING


def _dice_row(
    name: str, dice: float, dice_nnunet: float, baseline_dice: float, metrics: tuple[str, ...], **cells: str
) -> DiceRow:
    return DiceRow(
        name,
        number(dice),
        number(dice_nnunet),
        number(baseline_dice),
        _fraction(dice),
        _fraction(baseline_dice),
        metrics,
        **cells,
    )


def _class_row(task: TaskResult, name: str, means: ClassSummary, metrics: Sequence[Metric]) -> DiceRow:
    low, high = means.dice_interval
    values = [(metric, means.metrics.get(metric.name, NAN)) for metric in metrics]
    return _dice_row(
        name,
        means.dice,
        task.dice_nnunet(name),
        means.baseline_dice,
        tuple(metric.text(value) if value == value else NOTHING for metric, value in values),
        interval=f"{number(low)} to {number(high)}" if low < high else NOTHING,
        misses=f"{means.complete_misses:.0f}" if means.complete_misses == means.complete_misses else NOTHING,
    )


def _fraction(value: float) -> float | None:
    return min(max(value, 0.0), 1.0) if value == value else None


def volume(value: float) -> str:
    """Millilitres, to three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif value not in UNSET:
            yield f"{prefix}{key}", value


def _every_leaf(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from _every_leaf(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, values


def _plain(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
