"""Numbers of a run as rows of text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uniseg.report.run import Run, TaskResult

FEW_PATIENTS = 6
NOTHING = "–"  # noqa: RUF001
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
    "Every mean is taken first over cases, then over classes, then over tasks. A class that is empty in reference and prediction counts 1 here; "
    "nnU-Net's convention leaves such a case out of the class. Image-blind is the score of the class that training labels show most often at each place, "
    "stretched to the scan: what can be had without looking at the image."
)


@dataclass(frozen=True)
class DiceRow:
    """Dice of one class, or of the task's mean: text for the cells, shares of 1 (None where unknown) for the bar."""

    name: str
    dice: str
    dice_nnunet: str
    blind_dice: str
    bar: float | None
    blind_bar: float | None


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
    found = [(name, [value for end in ends for key, value in leaves if f".{key}".endswith(f".{end}")]) for name, ends in SETTINGS]
    return [(name, _plain(values[0])) for name, values in found if values]


def task_table(task: TaskResult) -> TaskTable:
    few = task.num_patients < FEW_PATIENTS
    return TaskTable(
        task.name,
        modalities=", ".join(task.modalities),
        spacing_mm=_plain(task.spacing_mm),
        cases=f"{task.num_train} / {task.num_dev} / {task.num_test}",
        test=f"{_count(task.num_cases, 'case')} of {_count(task.num_patients, 'patient')}",
        licence=task.licence,
        warning=f"small: {_count(task.num_patients, 'patient')}; differences are not tests" if few else "",
        rows=tuple(_dice_row(c.name, c.dice, c.dice_nnunet, c.blind_dice) for c in task.classes),
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
    return CaseTable(task.name, ("case", "patient", "mean Dice", "image-blind", *(c.name for c in task.classes)), tuple(rows))


def number(value: float) -> str:
    """Three decimals; a dash for NaN."""
    return f"{value:.3f}" if value == value else NOTHING


def _dice_row(name: str, dice: float, dice_nnunet: float, blind_dice: float) -> DiceRow:
    return DiceRow(name, number(dice), number(dice_nnunet), number(blind_dice), _share(dice), _share(blind_dice))


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


def _plain(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
