"""Scores of label maps, ours or another tool's, with what can be had without looking at the image."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from uniseg.datasets.case import Case
from uniseg.datasets.labels import load_label, reference_image
from uniseg.datasets.source import Source
from uniseg.errors import InputError
from uniseg.evaluation.scores import NAN, Score
from uniseg.images.files import read_geometry
from uniseg.inference.outputs import json_path, read_prediction_json
from uniseg.metrics.lesions import count_lesions
from uniseg.metrics.overlap import count_classes
from uniseg.metrics.surface import surface_distances
from uniseg.task import Task

BLIND_GRID = (48, 48, 48)
TASK_VALUES, FILE_VALUES = "task", "file"  # whose label values a prediction holds
PREDICTION_FIX = "correct the prediction, source.label_map, or predictions_use, which says whose values it holds"


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


def score_case(
    task: Task,
    source: Source,
    case: Case,
    prediction: Path,
    blind: np.ndarray | None,
    rules: Rules | None = None,
    values: str | None = TASK_VALUES,
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
    geometry = read_geometry(reference_image(task, case))
    spacing_mm, voxel_ml = geometry.spacing_mm, geometry.voxel_ml
    counts = count_classes(torch.from_numpy(predicted), torch.from_numpy(reference), task.membership)
    stretched = (
        count_classes(torch.from_numpy(stretch(blind, reference.shape)), torch.from_numpy(reference), task.membership)
        if blind is not None
        else None
    )
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


def load_prediction(
    task: Task, source: Source, case: Case, prediction: Path, values: str | None = TASK_VALUES
) -> np.ndarray:
    """``[Z,Y,X]`` int16 label values of the task, on the grid of the case.

    Args:
        values: ``task``: the file holds them as they are, as ours do; ``file``: it holds those of the label files,
            which ``source.label_map`` translates, as a tool that was trained on these files does. None: the task's
            beside a JSON of ours, else either where no value means two things.

    Raises:
        InputError: the file cannot be read, lies on another grid, or holds a value of no class or, without ``values``,
            of one class as the task's and of another as the label files'.
    """
    known = {value: value for own in task.class_values for value in own}
    if values is None and read_prediction_json(json_path(prediction)) is None:
        double = [value for value, target in source.label_map.items() if known.get(value, target) != target]
        if double:
            found = f"label values of another tool, where {double[0]} may be the task's or that of the label files"
            fix = f"say which: predictions_use={TASK_VALUES} or {FILE_VALUES}"
            raise InputError(prediction, found, "to be told whose values they are", fix)
        known |= source.label_map
    elif values == FILE_VALUES:
        known = source.label_map
    own = replace(case, label_path=prediction, absent=False)
    return load_label(task, replace(source, label_map=known, ignore=None), own, PREDICTION_FIX)


def _shape_scores(
    predicted: np.ndarray,
    reference: np.ndarray,
    own_values: np.ndarray,
    spacing_mm: Sequence[float],
    task_name: str,
    rules: Rules | None,
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
        votes += (
            stretch(load_label(task, source, case), BLIND_GRID)[None] == np.arange(task.num_labels)[:, None, None, None]
        )
    return votes.argmax(0).astype(np.int16)


def stretch(label: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """``[Z,Y,X]`` to another shape by nearest neighbour."""
    picks = [((np.arange(m) + 0.5) * n / m).astype(int) for n, m in zip(label.shape, shape, strict=True)]
    return label[np.ix_(*picks)]


def _full_if_nan(dice: float) -> float:
    return 1.0 if dice != dice else dice
