"""Numbers of a run as rows of text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uniseg.reporting.run import ClassResult, Run, TaskResult

FEW_PATIENTS = 6
NOTHING = "–"  # noqa: RUF001
ELSEWHERE = ("tasks", "paths")  # the data have their own table
UNSET = (None, -1)  # -1: Lightning's "no limit"
# A setting's name, then ends of its dotted key in the configuration; the first that is found counts.
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
    "nnU-Net's convention leaves such a case out of the class. Image-blind is the score of the class that training "
    "labels show most often at each place, "
    "stretched to the scan: what can be had without looking at the image. The interval is a 95 % bootstrap over "
    "patients. NSD, HD95: surface Dice at the "
    "tolerance of the evaluation, 95th percentile of the surface distance; a class that only one of the two has gets "
    "0 and the scan's diagonal. "
    "Missed: cases of which nothing was found."
)


@dataclass(frozen=True)
class DiceRow:
    """Scores of one class, or the Dice of the task's mean: text for the cells, shares of 1 (None where unknown) for the
    bar.
    """

    name: str
    dice: str
    dice_nnunet: str
    blind_dice: str
    bar: float | None
    blind_bar: float | None
    interval: str = ""
    nsd: str = ""
    hd95_mm: str = ""
    misses: str = ""


@dataclass(frozen=True)
class TaskTable:
    """One task: facts, one row per class, the mean, a warning where there are few patients (else empty)."""

    name: str
    modalities: str
    spacing_mm: str
    cases: str
    test: str
    licence: str
    warning: str
    rows: tuple[DiceRow, ...]
    mean: DiceRow


@dataclass(frozen=True)
class CaseTable:
    """All cases of one task: ``head`` names the columns of ``rows``."""

    name: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary_line(run: Run) -> str:
    patients = len({case.patient_id for case in run.cases})
    counts = f"{_count(len(run.tasks), 'task')}, {_count(len(run.cases), 'case')}, {_count(patients, 'patient')}"
    return (
        f"Mean {run.split} Dice {number(run.mean_dice)} (nnU-Net's convention {number(run.mean_dice_nnunet)}); "
        f"image-blind mean {number(run.blind_mean_dice)}; {counts}."
    )


def settings_rows(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of the key settings that the configuration holds."""
    leaves = sorted(_leaves(config), key=lambda leaf: leaf[0].count("."))
    found = [
        (name, [value for end in ends for key, value in leaves if f".{key}".endswith(f".{end}")])
        for name, ends in SETTINGS
    ]
    return [(name, _plain(values[0])) for name, values in found if values]


def changed_rows(config: Mapping[str, Any], default: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(key, value, what it is without an experiment) of every setting of a run that differs from ``conf/train.yaml``;
    tasks have their own table.
    """
    own, usual = (
        {key: value for key, value in _every_leaf(values) if key.split(".")[0] not in ELSEWHERE}
        for values in (config, default)
    )
    place = str(config.get("run_dir"))
    names = [key for key in own | usual if own.get(key) != usual.get(key) and place not in str(own.get(key))]
    return (
        [
            (key, *(_plain(values[key]) if key in values else NOTHING for values in (own, usual)))
            for key in sorted(names)
        ]
        if default
        else []
    )


def data_rows(run: Run) -> list[tuple[str, ...]]:
    """Task, modalities, spacing, cases of each split, scored cases and patients, licence."""
    return [
        (
            t.name,
            ", ".join(t.modalities),
            _plain(t.spacing_mm),
            *map(str, (t.num_train, t.num_val, t.num_test, t.num_cases, t.num_patients)),
            t.licence,
        )
        for t in run.tasks
    ]


def stage_rows(run: Run) -> list[tuple[str, str, str]]:
    """Stage of prediction, seconds a case, share of their sum; reading and writing overlap with the rest."""
    total = sum(run.stages_s.values())
    return (
        [
            (stage, f"{seconds / max(1, len(run.cases)):.2f}", f"{seconds / total:.0%}")
            for stage, seconds in run.stages_s.items()
        ]
        if total
        else []
    )


def task_table(task: TaskResult) -> TaskTable:
    few = task.num_patients < FEW_PATIENTS
    return TaskTable(
        task.name,
        modalities=", ".join(task.modalities),
        spacing_mm=_plain(task.spacing_mm),
        cases=f"{task.num_train} / {task.num_val} / {task.num_test}",
        test=f"{_count(task.num_cases, 'case')} of {_count(task.num_patients, 'patient')}",
        licence=task.licence,
        warning=f"small: {_count(task.num_patients, 'patient')}; differences are not tests" if few else "",
        rows=tuple(_class_row(c) for c in task.classes),
        mean=_dice_row("mean", task.dice, task.dice_nnunet, task.blind_dice),
    )


def case_table(task: TaskResult) -> CaseTable:
    """Cases by falling Dice; a class's cell holds its Dice, then reference -> prediction in ml."""
    ranked = sorted(task.cases, key=lambda case: (-case.dice, case.case_id))
    rows = (
        (
            case.case_id,
            case.patient_id,
            number(case.dice),
            number(case.blind_dice),
            *(f"{number(s.dice)} ({_ml(s.reference_ml)} → {_ml(s.prediction_ml)} ml)" for s in case.scores),
        )
        for case in ranked
    )
    return CaseTable(
        task.name, ("case", "patient", "mean Dice", "image-blind", *(c.name for c in task.classes)), tuple(rows)
    )


def number(value: float) -> str:
    """Three decimals; a dash for NaN."""
    return f"{value:.3f}" if value == value else NOTHING


def _dice_row(name: str, dice: float, dice_nnunet: float, blind_dice: float) -> DiceRow:
    return DiceRow(name, number(dice), number(dice_nnunet), number(blind_dice), _share(dice), _share(blind_dice))


def _class_row(c: ClassResult) -> DiceRow:
    interval = f"{number(c.interval[0])} to {number(c.interval[1])}" if c.interval[0] < c.interval[1] else NOTHING
    extra = (
        interval,
        number(c.nsd),
        f"{c.hd95_mm:.1f}" if c.hd95_mm == c.hd95_mm else NOTHING,
        f"{c.misses:.0f}" if c.misses == c.misses else NOTHING,
    )
    return DiceRow(
        c.name,
        number(c.dice),
        number(c.dice_nnunet),
        number(c.blind_dice),
        _share(c.dice),
        _share(c.blind_dice),
        *extra,
    )


def _share(value: float) -> float | None:
    return min(max(value, 0.0), 1.0) if value == value else None


def _ml(value: float) -> str:
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
