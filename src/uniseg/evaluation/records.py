"""What an evaluation found, and its files: ``Score`` with scores.csv, ``Summary`` with metrics.json."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from uniseg.datasets.split_file import current_split, with_current_splits
from uniseg.errors import InputError
from uniseg.evaluation.csv_cells import NAN, read_rows, to_cell, to_number, write_rows
from uniseg.files import MALFORMED, read_record, require_text, write_json
from uniseg.metrics.lesions import LesionCounts

FIX = "evaluate again"
# Fields -> columns and keys of the files, whose names are older.
TEXT = {"task": "task", "case_id": "case_id", "patient_id": "patient_id", "class_name": "class"}
DICE = {"dice": "dice", "dice_nnunet": "dice_nnunet", "baseline_dice": "blind_dice"}
NUMBERS = DICE | {"reference_ml": "reference_ml", "prediction_ml": "prediction_ml"}
MEANS = {"mean_dice": "mean_dice", "mean_dice_nnunet": "mean_dice_nnunet", "baseline_mean_dice": "blind_mean_dice"}
LESIONS = ("lesions_found", "lesions_missed", "lesions_false")


@dataclass(frozen=True)
class Score:
    """One class of one case; NaN where something does not exist or was not computed.

    Attributes:
        dice: 1 where prediction and reference are both empty.
        dice_nnunet: NaN there, to be left out of means (nnU-Net's convention).
        baseline_dice: of the majority-vote baseline, column ``blind_dice``; NaN where there was none.
        reference_ml, prediction_ml: volumes.
        metrics: the other metrics by name.
        lesions: None where they were not counted.

    Examples:
        >>> score = Score("liver", "case_7", "patient_3", "tumour", 0.8, 0.8, 0.1, 12.0, 10.5, {"nsd": 0.9})
        >>> score.value("nsd"), score.volume_difference_ml
        (0.9, -1.5)
    """

    task: str
    case_id: str
    patient_id: str
    class_name: str
    dice: float
    dice_nnunet: float
    baseline_dice: float
    reference_ml: float
    prediction_ml: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    lesions: LesionCounts | None = None

    def value(self, metric: str) -> float:
        """NaN where the metric was not computed."""
        return self.dice if metric == "dice" else self.metrics.get(metric, NAN)

    @property
    def volume_difference_ml(self) -> float:
        """Prediction minus reference."""
        return self.prediction_ml - self.reference_ml

    @property
    def complete_miss(self) -> bool:
        """There is something to find, and none of it was found."""
        return self.reference_ml > 0 and self.dice == 0


def write_scores(scores: Sequence[Score], path: Path) -> None:
    """One row per case and class; NaN is an empty cell."""
    names = list(dict.fromkeys(name for score in scores for name in score.metrics))
    head = [*TEXT.values(), *NUMBERS.values(), *names, *LESIONS]
    write_rows(path, head, ([to_cell(value) for value in _row(score, names)] for score in scores))


def read_scores(path: Path) -> list[Score]:
    """What ``write_scores`` wrote.

    Raises:
        InputError: missing or malformed.
    """
    expected = "scores.csv of uniseg.evaluate"
    try:
        scores = [_score(row) for row in read_rows(path.read_text("utf-8"))]
    except OSError as error:
        raise InputError(path, error.strerror, expected, FIX) from error
    except KeyError as error:
        raise InputError(path, f"no column {error}", expected, FIX) from error
    except MALFORMED as error:
        raise InputError(path, f"{type(error).__name__} ({' '.join(str(error).split())})", expected, FIX) from error
    if not scores:
        raise InputError(path, "no scores", expected, FIX)
    return scores


@dataclass(frozen=True)
class ClassSummary:
    """Means over the cases of one class; NaN where no case counts, or where it was not computed.

    Attributes:
        dice_interval: 95 %, over patients; NaN for one.
        metrics: means of the other metrics by name.
        lesion_sensitivity, lesion_f1, false_lesions_per_case: of the sums over all cases.
        complete_misses: cases of which nothing was found.
        cases_without: cases without the class; ``false_positive_ml`` is the mean volume predicted in them.

    Examples:
        >>> ClassSummary(dice=0.8, baseline_dice=0.1, metrics={"nsd": 0.9}).metrics["nsd"]
        0.9
    """

    dice: float
    baseline_dice: float
    dice_interval: tuple[float, float] = (NAN, NAN)
    metrics: Mapping[str, float] = field(default_factory=dict)
    volume_difference_ml: float = NAN
    lesion_sensitivity: float = NAN
    lesion_f1: float = NAN
    false_lesions_per_case: float = NAN
    complete_misses: float = NAN
    cases_without: float = NAN
    false_positive_ml: float = NAN


DETAILS = (
    *("volume_difference_ml", "lesion_sensitivity", "lesion_f1", "false_lesions_per_case", "complete_misses"),
    *("cases_without", "false_positive_ml"),
)


@dataclass(frozen=True)
class TaskData:
    """What was scored, of which data.

    Attributes:
        spacing_mm: (z, y, x) that the network sees.
        cases_per_split: train, val, test.

    Examples:
        >>> TaskData(("CT",), (3.0, 1.0, 1.0), {"train": 8, "val": 2, "test": 3}, "CC0").cases_per_split["val"]
        2
    """

    modalities: tuple[str, ...]
    spacing_mm: tuple[float, ...]
    cases_per_split: Mapping[str, int]
    licence: str


@dataclass(frozen=True)
class TaskSummary:
    """Means over the cases, then the classes, of one task; ``data`` is None for label maps of unknown origin.

    Examples:
        >>> TaskSummary(0.8, 0.8, 0.1, num_cases=3, num_patients=2, classes={}).num_patients
        2
    """

    dice: float
    dice_nnunet: float
    baseline_dice: float
    num_cases: int
    num_patients: int
    classes: Mapping[str, ClassSummary]
    data: TaskData | None = None


@dataclass(frozen=True)
class Summary:
    """Means over cases, then classes, then tasks, with how they came about.

    Attributes:
        split: whose cases were scored; None for label maps of unknown origin.
        checkpoint: hash of the weights.
        postprocessed: whether components were removed; None where nothing was predicted.
        rules: settings of the scoring.
        stages_s: seconds by stage of prediction, over all cases.
        pooled: run folders of the folds.

    Examples:
        >>> Summary.read(Path("outputs/demo/evaluation/metrics.json")).mean_dice  # doctest: +SKIP
        0.689
    """

    mean_dice: float
    mean_dice_nnunet: float
    baseline_mean_dice: float
    tasks: Mapping[str, TaskSummary]
    split: str | None = None
    checkpoint: str | None = None
    postprocessed: bool | None = None
    rules: Mapping[str, Any] | None = None
    stages_s: Mapping[str, float] | None = None
    pooled: tuple[str, ...] | None = None

    def write(self, path: Path) -> None:
        """NaN becomes null; the baseline's keys are ``blind_dice`` and the like."""
        means = {key: getattr(self, name) for name, key in MEANS.items()}
        origin = {
            key: getattr(self, key) for key in ("split", "checkpoint", "postprocessed", "rules", "stages_s", "pooled")
        }
        tasks = {name: _task_to_dict(task) for name, task in self.tasks.items()}
        write_json(path, means | {"tasks": tasks} | {key: value for key, value in origin.items() if value is not None})

    @classmethod
    def read(cls, path: Path) -> Self:
        """What ``write`` wrote, or what an older version did.

        Raises:
            InputError: neither.
        """
        return read_record(path, cls._of, "metrics.json of uniseg.evaluate", FIX)

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Self:
        split, stages, pooled = values.get("split"), values.get("stages_s"), values.get("pooled")
        return cls(
            **{name: _number(values[key]) for name, key in MEANS.items()},
            tasks={name: _task(task) for name, task in values["tasks"].items()},
            split=None if split is None else current_split(require_text(split)),
            checkpoint=None if values.get("checkpoint") is None else str(values["checkpoint"]),
            postprocessed=values.get("postprocessed"),
            rules=values.get("rules"),
            stages_s=None
            if stages is None
            else {require_text(stage): float(seconds) for stage, seconds in stages.items()},
            pooled=None if pooled is None else tuple(map(str, pooled)),
        )


def _row(score: Score, names: Iterable[str]) -> list[str | float]:
    lesions = (NAN,) * 3 if score.lesions is None else tuple(vars(score.lesions).values())
    fixed = (getattr(score, name) for name in (*TEXT, *NUMBERS))
    return [*fixed, *(score.value(name) for name in names), *lesions]


def _score(row: Mapping[str, str]) -> Score:
    lesions = [to_number(row.get(name, "")) for name in LESIONS]
    fixed = (*TEXT.values(), *NUMBERS.values(), *LESIONS)
    return Score(
        **{name: row[column] for name, column in TEXT.items()},
        **{name: to_number(row[column]) for name, column in NUMBERS.items()},
        metrics={name: to_number(cell) for name, cell in row.items() if name not in fixed},
        lesions=None if any(number != number for number in lesions) else LesionCounts(*map(int, lesions)),
    )


def _task_to_dict(task: TaskSummary) -> dict[str, Any]:
    classes = task.classes.items()
    return {
        **{key: getattr(task, name) for name, key in DICE.items()},
        "num_cases": task.num_cases,
        "num_patients": task.num_patients,
        "classes": {name: each.dice for name, each in classes},
        "blind_classes": {name: each.baseline_dice for name, each in classes},
        "details": {
            name: {"dice_interval": each.dice_interval, **each.metrics, **{key: getattr(each, key) for key in DETAILS}}
            for name, each in classes
        },
        **(asdict(task.data) if task.data is not None else {}),
    }


def _task(values: Mapping[str, Any]) -> TaskSummary:
    details, baseline = values.get("details", {}), values["blind_classes"]
    return TaskSummary(
        **{name: _number(values[key]) for name, key in DICE.items()},
        **{key: int(values[key]) for key in ("num_cases", "num_patients")},
        classes={name: _class(dice, baseline[name], details.get(name)) for name, dice in values["classes"].items()},
        data=_task_data(values) if "modalities" in values else None,
    )


def _class(dice: Any, baseline_dice: Any, details: Mapping[str, Any] | None) -> ClassSummary:
    if details is None:  # as older versions wrote it
        return ClassSummary(_number(dice), _number(baseline_dice))
    low, high = map(_number, details["dice_interval"])
    others = {key: _number(value) for key, value in details.items() if key not in ("dice_interval", *DETAILS)}
    known = {key: _number(details[key]) for key in DETAILS}
    return ClassSummary(_number(dice), _number(baseline_dice), (low, high), others, **known)


def _task_data(values: Mapping[str, Any]) -> TaskData:
    """``cases_per_side`` is the name of older files."""
    counts = values["cases_per_split"] if "cases_per_split" in values else values["cases_per_side"]
    return TaskData(
        tuple(map(require_text, values["modalities"])),
        tuple(map(float, values["spacing_mm"])),
        {require_text(split): int(number) for split, number in with_current_splits(counts).items()},
        require_text(values.get("licence") or ""),
    )


def _number(value: Any) -> float:
    """NaN of null."""
    return NAN if value is None else float(value)
