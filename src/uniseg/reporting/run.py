"""A run folder in memory: what training logged, what evaluation scored."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from uniseg.datasets.case import Case
from uniseg.datasets.labels import load_case
from uniseg.datasets.source import Source
from uniseg.datasets.split_file import SPLITS, with_current_splits
from uniseg.errors import InputError
from uniseg.evaluation.case_files import require_unchanged
from uniseg.evaluation.score_case import load_prediction
from uniseg.evaluation.scores import Score, score_rows
from uniseg.images.volume import Volume
from uniseg.task import Task

T = TypeVar("T")
NAN = float("nan")
MALFORMED = (
    ArithmeticError,
    AttributeError,
    IndexError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    csv.Error,
    yaml.YAMLError,
)


@dataclass(frozen=True)
class Curve:
    """One logged quantity: a value per epoch, epochs ascending."""

    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class CaseResult:
    """One test case: a Score per foreground class, in the task's order."""

    task: str
    case_id: str
    patient_id: str
    scores: tuple[Score, ...]

    @property
    def dice(self) -> float:
        """Mean over the classes."""
        return mean(score.dice for score in self.scores)

    @property
    def blind_dice(self) -> float:
        return mean(score.blind_dice for score in self.scores)


@dataclass(frozen=True)
class ClassResult:
    """Means over the cases; NaN where no case counts, or where it was not computed.

    Attributes:
        interval: of the Dice, 95 %, a bootstrap over patients.
        misses: cases of which nothing was found.
    """

    name: str
    dice: float
    dice_nnunet: float
    blind_dice: float
    interval: tuple[float, float] = (NAN, NAN)
    nsd: float = NAN
    hd95_mm: float = NAN
    misses: float = NAN


@dataclass(frozen=True)
class TaskResult:
    """What evaluation says of one task.

    Attributes:
        spacing_mm: (z, y, x) that the network sees.
        num_train, num_val, num_test: cases per split.
        classes: foreground, in the task's order.
        cases: in the order of the score file.
    """

    name: str
    modalities: tuple[str, ...]
    spacing_mm: tuple[float, ...]
    licence: str
    num_train: int
    num_val: int
    num_test: int
    num_cases: int
    num_patients: int
    dice: float
    dice_nnunet: float
    blind_dice: float
    classes: tuple[ClassResult, ...]
    cases: tuple[CaseResult, ...]


@dataclass(frozen=True)
class CaseFiles:
    """Where a test case lies, what its label means.

    Attributes:
        stamps: scans and label with what told them from others when they were scored; of older evaluations none.
        prediction_hash: of the content that was scored; None where it was not kept.
    """

    task: Task
    source: Source
    case: Case
    prediction_path: Path
    stamps: tuple[tuple[Path, dict], ...] = ()
    prediction_hash: str | None = None


@dataclass(frozen=True)
class Scan:
    """A test case in memory: ``volume.array [M,Z,Y,X]``;

    ``reference`` and ``prediction`` ``[Z,Y,X]`` label values of the task.
    """

    volume: Volume
    reference: np.ndarray
    prediction: np.ndarray


@dataclass(frozen=True)
class Run:
    """Everything that the report tells.

    Attributes:
        config: the resolved configuration as plain containers.
        curves: by log key, e.g. ``train/loss/<task>``.
        stages_s: seconds by stage of prediction, over all scored cases; empty where nothing was predicted.
        files: by (task, case_id).
    """

    name: str
    config: Mapping[str, Any]
    curves: Mapping[str, Curve]
    split: str
    checkpoint: str
    mean_dice: float
    mean_dice_nnunet: float
    blind_mean_dice: float
    tasks: tuple[TaskResult, ...]
    files: Mapping[tuple[str, str], CaseFiles]
    stages_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def cases(self) -> tuple[CaseResult, ...]:
        return tuple(case for task in self.tasks for case in task.cases)


def read_run(run_dir: Path) -> Run:
    """Read a run folder; images stay on disk (see ``read_scan``).

    Raises:
        InputError: a file is missing or malformed, two files tell of different tasks, cases or classes, or a scan,
            label or prediction is no longer what was scored.
    """
    evaluation = run_dir / "evaluation"
    config = parse(run_dir / "config.yaml", lambda text: dict(yaml.safe_load(text) or {}))
    curves = read_curves(run_dir / "logs" / "metrics.csv")
    metrics_path, scores_path, cases_path = (
        evaluation / "metrics.json",
        evaluation / "scores.csv",
        evaluation / "cases.json",
    )
    cases = parse(scores_path, _cases)
    files = parse(cases_path, lambda text: _files(text, evaluation))
    run = parse(metrics_path, lambda text: _run(run_dir.resolve().name, config, curves, json.loads(text), cases, files))
    unscored = sorted({case.task for case in cases} ^ {task.name for task in run.tasks})
    if unscored or not run.tasks:
        raise InputError(
            scores_path,
            f"tasks that differ from {metrics_path.name}: {', '.join(unscored) or 'none'}",
            "the same tasks",
            "evaluate again",
        )
    for task in run.tasks:
        _check(task, files, scores_path, cases_path)
    for own in files.values():
        require_unchanged(own.stamps, own.prediction_path, own.prediction_hash)
    return run


def read_curves(path: Path) -> dict[str, Curve]:
    """Every column of a Lightning ``metrics.csv`` but epoch and step; the last value of an epoch counts.

    Raises:
        InputError: missing, or a cell that is not a number.
    """
    return parse(path, _curves)


def read_scan(files: CaseFiles) -> Scan:
    """Image, reference, prediction of one case on one grid.

    Raises:
        InputError: as ``load_case`` and ``read_label``.
    """
    volume, reference = load_case(files.task, files.source, files.case)
    return Scan(volume, reference, load_prediction(files.task, files.source, files.case, files.prediction_path))


def extremes(cases: tuple[CaseResult, ...]) -> list[tuple[str, CaseResult]]:
    """Best, median (the lower of two), worst by mean Dice; each case once, so fewer of fewer than three."""
    ranked = sorted(cases, key=lambda case: (case.dice, case.case_id))
    places = (
        {len(ranked) - 1: "best", 0: "worst", (len(ranked) - 1) // 2: "median"}
        if len(ranked) > 2
        else {len(ranked) - 1: "best", 0: "worst"}
    )
    names = places if len(ranked) > 1 else {0: "only case"}
    return [(names[place], ranked[place]) for place in sorted(names, reverse=True)]


def mean(values) -> float:
    """Mean of what is not NaN; NaN where nothing is left."""
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")


def parse(path: Path, reader: Callable[[str], T]) -> T:
    """``reader`` on the text of a file.

    Raises:
        InputError: missing, or the reader met something malformed.
    """
    if not path.is_file():
        raise InputError(
            path,
            "no such file",
            "the file that training or evaluation writes",
            "give a run folder that was trained, then evaluated",
        )
    try:
        return reader(path.read_text("utf-8"))
    except KeyError as error:
        raise InputError(path, f"no entry {error}", "every entry of an evaluated run", "evaluate again") from error
    except MALFORMED as error:
        reason = f"{type(error).__name__} ({' '.join(str(error).split())})"
        raise InputError(path, reason, "the format that uniseg writes", "restore the file") from error


def _curves(text: str) -> dict[str, Curve]:
    columns: dict[str, dict[int, float]] = defaultdict(dict)
    for row in csv.DictReader(text.splitlines()):
        if not row["epoch"]:
            continue
        for key, cell in row.items():
            if cell and key not in ("epoch", "step"):
                columns[key][int(float(row["epoch"]))] = float(cell)
    return {
        key: Curve(tuple(sorted(points)), tuple(points[epoch] for epoch in sorted(points)))
        for key, points in columns.items()
    }


def _cases(text: str) -> list[CaseResult]:
    rows: dict[tuple[str, str, str], list[Score]] = defaultdict(list)
    for row in score_rows(text):
        numbers = {
            key: _number(row[key]) for key in ("dice", "dice_nnunet", "blind_dice", "reference_ml", "prediction_ml")
        }
        key = (row["task"], row["case_id"], row["patient_id"])
        rows[key].append(Score(*key, row["class"], **numbers))
    return [CaseResult(*key, tuple(scores)) for key, scores in rows.items()]


def _files(text: str, evaluation: Path) -> dict[tuple[str, str], CaseFiles]:
    return {(entry["task"], entry["case_id"]): _case_files(entry, evaluation) for entry in json.loads(text)}


def _case_files(entry: dict, evaluation: Path) -> CaseFiles:
    source, stamps = entry["source"], entry.get("stamps") or {}
    ignore = source["ignore"]
    *images, label = (None if path is None else Path(path) for path in (*entry["images"], entry["label"]))
    told = zip((*images, label), (*(stamps.get("images") or [None] * len(images)), stamps.get("label")), strict=True)
    return CaseFiles(
        Task.from_dict(entry["definition"]),
        Source(
            source["layout"],
            Path(source["root"]),
            label_map={int(value): int(target) for value, target in source["label_map"].items()},
            ignore=None if ignore is None else int(ignore),
        ),
        Case(_text(entry["case_id"]), _text(entry["patient_id"]), tuple(images), label, absent=label is None),
        evaluation / entry["prediction"],
        tuple((path, before) for path, before in told if path is not None and before is not None),
        stamps.get("prediction"),
    )


def _run(
    name: str,
    config: dict,
    curves: dict[str, Curve],
    metrics: dict,
    cases: list[CaseResult],
    files: dict[tuple[str, str], CaseFiles],
) -> Run:
    tasks = tuple(
        _task(task, values, tuple(case for case in cases if case.task == task))
        for task, values in metrics["tasks"].items()
    )
    means = [_number(metrics[key]) for key in ("mean_dice", "mean_dice_nnunet", "blind_mean_dice")]
    stages = {_text(stage): float(seconds) for stage, seconds in metrics.get("stages_s", {}).items()}
    return Run(name, config, curves, _text(metrics["split"]), str(metrics["checkpoint"]), *means, tasks, files, stages)


def _task(name: str, values: dict, cases: tuple[CaseResult, ...]) -> TaskResult:
    scores = [score for case in cases for score in case.scores]
    details = values.get("details", {})
    classes = tuple(
        ClassResult(
            c,
            _number(dice),
            mean(s.dice_nnunet for s in scores if s.class_name == c),
            _number(values["blind_classes"][c]),
            **_details(details[c]) if c in details else {},
        )
        for c, dice in values["classes"].items()
    )
    return TaskResult(
        name,
        modalities=tuple(map(_text, values["modalities"])),
        spacing_mm=tuple(map(float, values["spacing_mm"])),
        licence=_text(values.get("licence") or ""),
        **{f"num_{split}": int(number) for split, number in _cases_per_split(values).items()},
        **{key: int(values[key]) for key in ("num_cases", "num_patients")},
        **{key: _number(values[key]) for key in ("dice", "dice_nnunet", "blind_dice")},
        classes=classes,
        cases=cases,
    )


def _cases_per_split(values: dict) -> dict[str, int]:
    """Of a file of any version: earlier ones have ``cases_per_side``, with dev for val."""
    numbers = values["cases_per_split"] if "cases_per_split" in values else values["cases_per_side"]
    return {split: with_current_splits(numbers).get(split, 0) for split in SPLITS}


def _details(values: dict) -> dict[str, Any]:
    low, high = map(_number, values["dice_interval"])
    own = {
        name: _number(values[key])
        for name, key in (("nsd", "nsd"), ("hd95_mm", "hd95_mm"), ("misses", "complete_misses"))
    }
    return {"interval": (low, high), **own}


def _check(task: TaskResult, files: Mapping[tuple[str, str], CaseFiles], scores_path: Path, cases_path: Path) -> None:
    names = tuple(c.name for c in task.classes)
    for case in task.cases:
        where = f"case '{case.case_id}' of task '{task.name}'"
        if tuple(score.class_name for score in case.scores) != names:
            raise InputError(
                scores_path,
                f"{where} with classes {[s.class_name for s in case.scores]}",
                f"{list(names)}, each once",
                "evaluate again",
            )
        if (task.name, case.case_id) not in files:
            raise InputError(cases_path, f"no {where}", "every scored case", "evaluate again")
        classes = files[task.name, case.case_id].task.classes
        if classes[1:] != names:
            raise InputError(
                cases_path, f"{where} with classes {list(classes)}", f"background, then {list(names)}", "evaluate again"
            )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60}, which is no text")
    return value


def _number(cell: Any) -> float:
    """A float; an empty cell or null is NaN."""
    return float("nan") if cell in ("", None) else float(cell)
