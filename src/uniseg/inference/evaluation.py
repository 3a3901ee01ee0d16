"""Scores of label maps, ours or another tool's, with what can be had without looking at the image."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import isinf
from pathlib import Path

import numpy as np
import torch

from uniseg.errors import InputError
from uniseg.files import write_atomically, write_json
from uniseg.metrics.lesions import LesionCounts, count_lesions
from uniseg.metrics.overlap import count_classes
from uniseg.metrics.paired import bootstrap, by_patient
from uniseg.metrics.surface import surface_distances
from uniseg.prepare.loading import load_label, reference_image
from uniseg.scans.case import Case
from uniseg.scans.io import read_geometry
from uniseg.scans.source import Source
from uniseg.task import Task

BLIND_GRID = (48, 48, 48)
NAN = float("nan")
TASK_VALUES, FILE_VALUES = "task", "file"  # whose label values a prediction holds
PREDICTION_FIX = "correct the prediction, or say predictions_use=file where it holds the values of the label files"
ESCAPED = ("=", "+", "-", "@", "\t", "\r", "'")  # a cell that begins so would be a formula, or is escaped already


@dataclass(frozen=True)
class Rules:
    """How cases are scored beyond the overlap.

    Attributes:
        tolerance_mm: of the surface Dice, for tasks that ``tolerances_mm`` does not name.
        tolerances_mm: task name -> its own.
        surfaces: whether distances are computed.
        lesion_overlap: share of a lesion's voxels that find it; 0: one voxel.
        lesions: whether connected components are counted.
    """

    tolerance_mm: float = 2.0
    tolerances_mm: Mapping[str, float] = field(default_factory=dict)
    surfaces: bool = True
    lesion_overlap: float = 0.0
    lesions: bool = True


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


def score_case(
    task: Task,
    source: Source,
    case: Case,
    prediction: Path,
    blind: np.ndarray | None,
    rules: Rules | None = None,
    values: str = TASK_VALUES,
) -> list[Score]:
    """One Score per foreground class.

    Args:
        source: says what the reference's values mean.
        blind: majority map ``[z,y,x]`` of ``blind_map``, or None.
        rules: None: the overlap alone.
        values: as of ``load_prediction``.

    Raises:
        InputError: reference or prediction cannot be read, lies on another grid, or holds a value of no class.
    """
    reference = load_label(task, source, case)
    predicted = load_prediction(task, source, case, prediction, values)
    spacing_mm = read_geometry(reference_image(task, case)).spacing_mm
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    counts = count_classes(torch.from_numpy(predicted), torch.from_numpy(reference), task.membership)
    stretched = count_classes(torch.from_numpy(stretch(blind, reference.shape)), torch.from_numpy(reference), task.membership) if blind is not None else None
    plain, blind_dice = counts.dice().tolist(), stretched.dice().tolist() if stretched is not None else None
    tp, fp, fn = counts.values.tolist()
    membership = np.array(task.membership)
    return [
        Score(
            task.name,
            case.case_id,
            case.patient_id,
            name,
            dice=_full_if_nan(plain[k]),
            dice_nnunet=plain[k],
            blind_dice=_full_if_nan(blind_dice[k]) if blind_dice is not None else NAN,
            reference_ml=(tp[k] + fn[k]) * voxel_ml,
            prediction_ml=(tp[k] + fp[k]) * voxel_ml,
            iou=_full_if_nan(plain[k] / (2 - plain[k])),
            **_shape_scores(predicted, reference, membership[:, k], spacing_mm, task.name, rules),
        )
        for k, name in enumerate(task.classes[1:])
    ]


def load_prediction(task: Task, source: Source, case: Case, prediction: Path, values: str = TASK_VALUES) -> np.ndarray:
    """``[Z,Y,X]`` int16 label values of the task, on the grid of the case.

    Args:
        values: ``task``: the file holds them as they are, as ours do; ``file``: it holds those of the label files, which
            ``source.label_map`` translates, as a tool that was trained on these files does.

    Raises:
        InputError: the file cannot be read, lies on another grid, or holds a value of no class.
    """
    known = {value: value for own in task.class_values for value in own} if values == TASK_VALUES else source.label_map
    own = replace(case, label_path=prediction, absent=False)
    return load_label(task, replace(source, label_map=known, ignore=None), own, PREDICTION_FIX)


def _shape_scores(
    predicted: np.ndarray, reference: np.ndarray, own_values: np.ndarray, spacing_mm: Sequence[float], task_name: str, rules: Rules | None
) -> dict[str, float]:
    """Of the class whose label values ``own_values [V]`` says; ignored voxels are outside of both."""
    if rules is None:
        return {}
    valid = reference >= 0
    ours, theirs = own_values[predicted] & valid, own_values[np.maximum(reference, 0)] & valid
    scores: dict[str, float] = {}
    if rules.surfaces:
        empty = [not mask.any() for mask in (ours, theirs)]
        if all(empty):
            scores |= {"nsd": 1.0}
        elif any(empty):
            diagonal = float(np.linalg.norm(np.multiply(reference.shape, spacing_mm)))
            scores |= {"nsd": 0.0, "hd95_mm": diagonal, "assd_mm": diagonal}
        else:
            distances = surface_distances(ours, theirs, spacing_mm)
            tolerance = rules.tolerances_mm.get(task_name, rules.tolerance_mm)
            scores |= {"nsd": distances.nsd(tolerance), "hd95_mm": distances.hd95(), "assd_mm": distances.assd()}
    if rules.lesions:
        counts = count_lesions(ours, theirs, least_overlap=rules.lesion_overlap)
        scores |= {"lesions_found": counts.found, "lesions_missed": counts.missed, "lesions_false": counts.false}
    return scores


def blind_map(task: Task, source: Source, cases: Iterable[Case]) -> np.ndarray:
    """The most frequent label value per place over training labels, each stretched to one grid ``[48,48,48]``."""
    votes = np.zeros((task.num_labels, *BLIND_GRID), np.int32)
    for case in cases:
        votes += stretch(load_label(task, source, case), BLIND_GRID)[None] == np.arange(task.num_labels)[:, None, None, None]
    return votes.argmax(0).astype(np.int16)


def stretch(label: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """``[Z,Y,X]`` to another shape by nearest neighbour."""
    picks = [((np.arange(m) + 0.5) * n / m).astype(int) for n, m in zip(label.shape, shape, strict=True)]
    return label[np.ix_(*picks)]


def summarise(scores: Sequence[Score]) -> dict:
    """Means over cases, then classes, then tasks."""
    rows: dict[str, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        rows[score.task][score.class_name].append(score)
    tasks = {}
    for name, classes in rows.items():
        own = [score for per_class in classes.values() for score in per_class]
        means = {key: {c: _mean(getattr(s, key) for s in per) for c, per in classes.items()} for key in ("dice", "dice_nnunet", "blind_dice")}
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

    Means are over cases; the interval of the Dice is a bootstrap over patients, 95 %. Lesions are summed over the cases.
    """
    _, per_patient = by_patient([s.patient_id for s in scores], [s.dice for s in scores])
    interval = bootstrap(per_patient)
    known = [s for s in scores if s.lesions_found == s.lesions_found]
    lesions = LesionCounts(*(int(sum(getattr(s, key) for s in known)) for key in ("lesions_found", "lesions_missed", "lesions_false")))
    absent = [s for s in scores if s.reference_ml == 0]
    return {
        "dice_interval": [interval.low, interval.high],
        **{key: _mean(getattr(s, key) for s in scores) for key in ("iou", "nsd", "hd95_mm", "assd_mm", "volume_difference_ml")},
        "lesion_sensitivity": lesions.sensitivity,
        "lesion_f1": lesions.f1,
        "false_lesions_per_case": lesions.false / len(known) if known else NAN,
        "complete_misses": sum(s.complete_miss for s in scores),
        "cases_without": len(absent),
        "false_positive_ml": _mean(s.prediction_ml for s in absent),
    }


def write_scores(scores: Sequence[Score], path: Path) -> None:
    """CSV, one row per case and class; NaN is an empty cell, text that a spreadsheet would compute begins with a quote."""
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
        rows = [{"class_name" if key == "class" else key: cell for key, cell in row.items()} for row in score_rows(path.read_text("utf-8"))]
        scores = [Score(**{key: cell if key in text else score_number(cell) for key, cell in row.items()}) for row in rows]
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


def _full_if_nan(dice: float) -> float:
    return 1.0 if dice != dice else dice
