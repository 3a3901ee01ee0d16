"""Label maps -> scores: every metric of every class of a case."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from uniseg.datasets.case import Case
from uniseg.datasets.labels import load_label, reference_image
from uniseg.datasets.source import Source
from uniseg.evaluation.baseline import resize_nearest
from uniseg.evaluation.csv_cells import NAN
from uniseg.evaluation.predictions import TASK_VALUES, load_prediction
from uniseg.evaluation.records import Score
from uniseg.images.files import read_geometry
from uniseg.metrics.base import MaskPair
from uniseg.metrics.dice import dice
from uniseg.metrics.overlap import count_classes
from uniseg.metrics.registry import Metrics, packaged_metrics
from uniseg.settings import FRACTION, NOT_NEGATIVE, bounded, check_fields, mapping
from uniseg.task import Task


@dataclass(frozen=True)
class ScoringRules:
    """How cases are scored beyond the overlap.

    Attributes:
        tolerance_mm: of the surface Dice, for tasks that ``tolerances_mm`` does not name.
        tolerances_mm: task name -> its tolerance.
        surfaces: whether distances are computed.
        lesion_overlap: fraction of a lesion's voxels that must be predicted for it to be found; 0: one voxel.
        lesions: whether connected components are counted.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> ScoringRules(tolerances_mm={"liver": 3.0}).tolerance_of("spleen")
        2.0
    """

    group: ClassVar[str] = "rules"

    tolerance_mm: float = field(default=2.0, metadata=bounded(NOT_NEGATIVE))
    tolerances_mm: Mapping[str, float] = field(default_factory=dict, metadata=bounded(mapping(NOT_NEGATIVE)))
    surfaces: bool = True
    lesion_overlap: float = field(default=0.0, metadata=bounded(FRACTION))
    lesions: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    def tolerance_of(self, task_name: str) -> float:
        return self.tolerances_mm.get(task_name, self.tolerance_mm)


@dataclass(frozen=True)
class Scorer:
    """Scores cases by rules, with all metrics that there are.

    Examples:
        >>> from uniseg.task import Task, Normalization
        >>> task = Task("liver", ("CT",), ("background", "liver"), (1, 1, 1), (Normalization("zscore", masked=False),))
        >>> predicted, reference = np.zeros((2, 4, 4, 4), np.int16)
        >>> reference[:2, :2] = predicted[:2, 1:3] = 1
        >>> (pair,) = Scorer().pairs(task, predicted, reference, (1.0, 1.0, 1.0))
        >>> Scorer().values(pair)["dice"]
        0.5
    """

    rules: ScoringRules = ScoringRules()
    metrics: Metrics = field(default_factory=packaged_metrics)

    def score_case(
        self,
        task: Task,
        source: Source,
        case: Case,
        prediction: Path,
        baseline: np.ndarray | None = None,
        values: str | None = TASK_VALUES,
    ) -> list[Score]:
        """One Score per foreground class.

        Args:
            source: says what the reference's values mean.
            baseline: label map ``[z,y,x]`` of ``majority_vote``, or None.
            values: as of ``load_prediction``.

        Raises:
            InputError: reference or prediction cannot be read, lies on another grid, or holds a value of no class.
        """
        reference = load_label(task, source, case)
        predicted = load_prediction(task, source, case, prediction, values)
        geometry = read_geometry(reference_image(task, case))
        baseline_dice = [NAN] * len(task.classes[1:])
        if baseline is not None:
            baseline_dice = [
                dice(*counts) for counts in _counts(task, resize_nearest(baseline, reference.shape), reference)
            ]
        pairs = self.pairs(task, predicted, reference, geometry.spacing_mm)
        return [
            self._score(task.name, case, name, pair, geometry.voxel_ml, prior)
            for name, pair, prior in zip(task.classes[1:], pairs, baseline_dice, strict=True)
        ]

    def pairs(
        self, task: Task, predicted: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]
    ) -> Iterator[MaskPair]:
        """Of one foreground class after the other of two maps ``[Z,Y,X]`` of label values, so that the masks of
        one at a time are in memory; a negative reference is ignored.
        """
        settings = {"tolerance_mm": self.rules.tolerance_of(task.name), "lesion_overlap": self.rules.lesion_overlap}
        for counts, values in zip(_counts(task, predicted, reference), np.array(task.membership).T, strict=True):
            yield MaskPair(counts, partial(_masks, predicted, reference, values), spacing_mm, **settings)

    def values(self, pair: MaskPair) -> dict[str, float]:
        """By name of the metric; NaN of one that the rules leave out."""
        return {
            name: float(metric.compute(pair)) if self.rules.surfaces or not metric.needs_surfaces else NAN
            for name, metric in self.metrics.items()
        }

    def _score(
        self, task_name: str, case: Case, class_name: str, pair: MaskPair, voxel_ml: float, baseline_dice: float
    ) -> Score:
        hits, false_alarms, misses = pair.counts
        values = self.values(pair)
        return Score(
            task_name,
            case.case_id,
            case.patient_id,
            class_name,
            dice=values.pop("dice"),
            dice_nnunet=dice(*pair.counts, both_empty=NAN),
            baseline_dice=baseline_dice,
            reference_ml=(hits + misses) * voxel_ml,
            prediction_ml=(hits + false_alarms) * voxel_ml,
            metrics=values,
            lesions=pair.lesions if self.rules.lesions else None,
        )


def _counts(task: Task, predicted: np.ndarray, reference: np.ndarray) -> list[tuple[int, int, int]]:
    """Hits, false alarms and misses of every foreground class."""
    counts = count_classes(torch.from_numpy(predicted), torch.from_numpy(reference), task.membership)
    return [tuple(numbers) for numbers in counts.values.T.tolist()]


def _masks(predicted: np.ndarray, reference: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the label values of a class are, which ``values [V]`` says; ignored voxels are outside both."""
    valid = reference >= 0
    return values[predicted] & valid, values[np.maximum(reference, 0)] & valid
