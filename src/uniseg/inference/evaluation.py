"""Scores of label maps, ours or another tool's, with what can be had without looking at the image."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from uniseg.metrics.overlap import count_classes
from uniseg.prepare.loading import load_label, reference_image
from uniseg.scans.case import Case
from uniseg.scans.io import read_geometry, read_label
from uniseg.scans.source import Source
from uniseg.task import Task

BLIND_GRID = (48, 48, 48)


@dataclass(frozen=True)
class Score:
    """One class of one case.

    Attributes:
        dice: 1 where reference and prediction are both empty.
        dice_nnunet: NaN there, to be left out of means (nnU-Net's convention).
        blind_dice: of the majority label map; NaN where none was given.
        reference_ml, prediction_ml: volumes.
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


def score_case(task: Task, source: Source, case: Case, prediction: Path, blind: np.ndarray | None) -> list[Score]:
    """One Score per foreground class.

    Args:
        source: says what the reference's values mean; the prediction holds label values of the task.
        blind: majority map ``[z,y,x]`` of ``blind_map``, or None.
    """
    grid = reference_image(task, case)
    reference = torch.from_numpy(load_label(task, source, case))
    predicted = torch.from_numpy(read_label(prediction, [grid])).clamp(0, task.num_labels - 1)
    voxel_ml = float(np.prod(read_geometry(grid).spacing_mm)) / 1000
    counts = count_classes(predicted, reference, task.membership)
    plain = counts.dice()
    stretched = count_classes(torch.from_numpy(stretch(blind, reference.shape)), reference, task.membership).dice() if blind is not None else None
    tp, fp, fn = counts.values.tolist()
    return [
        Score(
            task.name,
            case.case_id,
            case.patient_id,
            name,
            dice=_full_if_nan(plain[k]),
            dice_nnunet=float(plain[k]),
            blind_dice=_full_if_nan(stretched[k]) if stretched is not None else float("nan"),
            reference_ml=(tp[k] + fn[k]) * voxel_ml,
            prediction_ml=(tp[k] + fp[k]) * voxel_ml,
        )
        for k, name in enumerate(task.classes[1:])
    ]


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
        }
    over_tasks = {key: _mean(task[key] for task in tasks.values()) for key in ("dice", "dice_nnunet", "blind_dice")}
    return {
        "mean_dice": over_tasks["dice"],
        "mean_dice_nnunet": over_tasks["dice_nnunet"],
        "blind_mean_dice": over_tasks["blind_dice"],
        "tasks": tasks,
    }


def write_scores(scores: Sequence[Score], path: Path) -> None:
    """CSV, one row per case and class; NaN is an empty cell."""
    names = [field.name for field in fields(Score)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class" if name == "class_name" else name for name in names])
        for score in scores:
            writer.writerow(["" if v != v else round(v, 5) if isinstance(v, float) else v for v in asdict(score).values()])


def write_summary(summary: dict, path: Path) -> None:
    """JSON; NaN becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_null_for_nan(summary), indent=1))


def _null_for_nan(value):
    if isinstance(value, dict):
        return {k: _null_for_nan(v) for k, v in value.items()}
    return None if isinstance(value, float) and value != value else value


def _mean(values: Iterable[float]) -> float:
    known = [v for v in values if v == v]
    return float(np.mean(known)) if known else float("nan")


def _full_if_nan(dice: torch.Tensor) -> float:
    return 1.0 if torch.isnan(dice) else float(dice)
