"""Scores per case and class: their means, their file."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from math import isinf
from pathlib import Path

import numpy as np

from uniseg.errors import InputError
from uniseg.files import write_atomically, write_json
from uniseg.metrics.lesions import LesionCounts
from uniseg.metrics.paired import bootstrap, by_patient

NAN = float("nan")
ESCAPED = ("=", "+", "-", "@", "\t", "\r", "'")  # a cell that begins so would be a formula, or is escaped already


@dataclass(frozen=True)
class Score:
    """One class of one case; NaN where something does not apply or was not asked.

    Attributes:
        dice, iou: 1 where reference and prediction are both empty.
        dice_nnunet: NaN there, to be left out of means (nnU-Net's convention).
        blind_dice: of the majority label map; NaN where none was given.
        reference_ml, prediction_ml: volumes.
        nsd: at the task's tolerance; 1 where both are empty, 0 where one is.
        hd95_mm, assd_mm: NaN where both are empty; the scan's diagonal where one is, so that a miss is no gain.
        lesions_found, lesions_missed, lesions_false: counts.
    """

    task: str
    case_id: str
    patient_id: str
    class_name: str
    dice: float
    dice_nnunet: float
    blind_dice: float
    reference_ml: float
    prediction_ml: float
    iou: float = NAN
    nsd: float = NAN
    hd95_mm: float = NAN
    assd_mm: float = NAN
    lesions_found: float = NAN
    lesions_missed: float = NAN
    lesions_false: float = NAN

    @property
    def volume_difference_ml(self) -> float:
        """Prediction minus reference."""
        return self.prediction_ml - self.reference_ml

    @property
    def complete_miss(self) -> bool:
        """There is something to find, and none of it was found."""
        return self.reference_ml > 0 and self.dice == 0


def summarise(scores: Sequence[Score]) -> dict:
    """Means over cases, then classes, then tasks."""
    rows: dict[str, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        rows[score.task][score.class_name].append(score)
    tasks = {}
    for name, classes in rows.items():
        own = [score for per_class in classes.values() for score in per_class]
        means = {
            key: {c: _mean(getattr(s, key) for s in per) for c, per in classes.items()}
            for key in ("dice", "dice_nnunet", "blind_dice")
        }
        tasks[name] = {
            "dice": _mean(means["dice"].values()),
            "dice_nnunet": _mean(means["dice_nnunet"].values()),
            "blind_dice": _mean(means["blind_dice"].values()),
            "num_cases": len({s.case_id for s in own}),
            "num_patients": len({s.patient_id for s in own}),
            "classes": means["dice"],
            "blind_classes": means["blind_dice"],
            "details": {c: class_details(per) for c, per in classes.items()},
        }
    over_tasks = {key: _mean(task[key] for task in tasks.values()) for key in ("dice", "dice_nnunet", "blind_dice")}
    return {
        "mean_dice": over_tasks["dice"],
        "mean_dice_nnunet": over_tasks["dice_nnunet"],
        "blind_mean_dice": over_tasks["blind_dice"],
        "tasks": tasks,
    }


def class_details(scores: Sequence[Score]) -> dict:
    """What the cases of one class say beyond the mean Dice.

    Means are over cases; the interval of the Dice is a bootstrap over patients, 95 %. Lesions are summed over the
    cases.
    """
    _, per_patient = by_patient([s.patient_id for s in scores], [s.dice for s in scores])
    interval = bootstrap(per_patient)
    known = [s for s in scores if s.lesions_found == s.lesions_found]
    lesions = LesionCounts(
        *(int(sum(getattr(s, key) for s in known)) for key in ("lesions_found", "lesions_missed", "lesions_false"))
    )
    absent = [s for s in scores if s.reference_ml == 0]
    return {
        "dice_interval": [interval.low, interval.high],
        **{
            key: _mean(getattr(s, key) for s in scores)
            for key in ("iou", "nsd", "hd95_mm", "assd_mm", "volume_difference_ml")
        },
        "lesion_sensitivity": lesions.sensitivity,
        "lesion_f1": lesions.f1,
        "false_lesions_per_case": lesions.false / len(known) if known else NAN,
        "complete_misses": sum(s.complete_miss for s in scores),
        "cases_without": len(absent),
        "false_positive_ml": _mean(s.prediction_ml for s in absent),
    }


def write_scores(scores: Sequence[Score], path: Path) -> None:
    """CSV, one row per case and class;

    NaN is an empty cell, text that a spreadsheet would compute begins with a quote.
    """
    names = [each.name for each in fields(Score)]
    with write_atomically(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class" if name == "class_name" else name for name in names])
        for score in scores:
            writer.writerow([score_cell(value) for value in asdict(score).values()])


def read_scores(path: Path) -> list[Score]:
    """What ``write_scores`` wrote.

    Raises:
        InputError: missing or malformed.
    """
    expected, fix = "scores.csv of uniseg.evaluate", "evaluate first"
    text = [each.name for each in fields(Score) if each.type is str]
    try:
        rows = [
            {"class_name" if key == "class" else key: cell for key, cell in row.items()}
            for row in score_rows(path.read_text("utf-8"))
        ]
        scores = [
            Score(**{key: cell if key in text else score_number(cell) for key, cell in row.items()}) for row in rows
        ]
    except OSError as error:
        raise InputError(path, error.strerror, expected, fix) from error
    except (ValueError, TypeError) as error:
        raise InputError(path, f"{type(error).__name__} ({' '.join(str(error).split())})", expected, fix) from error
    if not scores:
        raise InputError(path, "no scores", expected, fix)
    return scores


def score_rows(text: str) -> list[dict[str, str]]:
    """Rows of a score file by the names in its head.

    Raises:
        ValueError: no CSV, or a row with another number of cells than the head.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("a row with another number of cells than the head")
    return [{key: _uncell(cell) for key, cell in row.items()} for row in rows]


def score_number(cell: str) -> float:
    """NaN of an empty cell.

    Raises:
        ValueError: no finite number.
    """
    value = NAN if cell == "" else float(cell)
    if isinf(value):
        raise ValueError(f"'{cell}', which is no finite number")
    return value


def score_cell(value: str | float) -> str | float:
    """What ``score_rows`` reads as ``value`` again."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(ESCAPED) else value
    return "" if value != value else round(value, 5)


def _uncell(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(ESCAPED) else cell


def write_summary(summary: dict, path: Path) -> None:
    """JSON; NaN becomes null."""
    write_json(path, summary)


def _mean(values: Iterable[float]) -> float:
    known = [v for v in values if v == v]
    return float(np.mean(known)) if known else float("nan")
