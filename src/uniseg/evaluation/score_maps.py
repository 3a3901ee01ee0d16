"""Scores one label map against another, in a notebook: arrays or files, no dataset."""

import os
from collections.abc import Sequence

import numpy as np

from uniseg.errors import InputError
from uniseg.evaluation.scoring import Scorer
from uniseg.images.files import read_geometry, read_label
from uniseg.task import Task

LabelMap = np.ndarray | str | os.PathLike


def score(
    prediction: LabelMap,
    reference: LabelMap,
    task: Task,
    spacing_mm: Sequence[float] | None = None,
    scorer: Scorer | None = None,
) -> dict[str, dict[str, float]]:
    """Every metric of every foreground class, as ``uniseg evaluate`` computes it.

    Args:
        prediction: label values ``[Z,Y,X]``, or a file on the grid of the reference.
        reference: the same; negative values count nowhere.
        spacing_mm: (z, y, x) of arrays; a reference that is a file knows its own.
        scorer: its rules and metrics; None: those of the command line.

    Returns:
        Class name -> metric -> value; NaN where a metric does not exist.

    Raises:
        InputError: shapes differ, a value is of no class, a file cannot be read or lies on another grid, or arrays
            without spacing.

    Examples:
        >>> from uniseg.task import Normalization
        >>> task = Task("liver", ("CT",), ("background", "liver"), (1, 1, 1), (Normalization("zscore", masked=False),))
        >>> reference = np.zeros((4, 8, 8), np.int16)
        >>> reference[1:3, 2:6, 2:6] = 1
        >>> score(np.roll(reference, 1, axis=2), reference, task, spacing_mm=(3, 1, 1))["liver"]["dice"]
        0.75
    """
    spacing_mm = _spacing(reference, spacing_mm)
    predicted, expected = _values(prediction, reference, "prediction"), _values(reference, reference, "reference")
    if predicted.shape != expected.shape or expected.ndim != 3:
        found = f"shapes {predicted.shape} and {expected.shape}"
        raise InputError("score", found, "two label maps [Z,Y,X] of one shape", "bring them onto one grid")
    known = {0, *(value for values in task.class_values for value in values)}
    for name, values in (("prediction", predicted), ("reference", expected[expected >= 0])):
        if unknown := sorted(set(np.unique(values).tolist()) - known):
            fix = "translate the values, or give the task that they belong to"
            raise InputError(f"score, {name}", f"label values {unknown[:5]}", f"values of {sorted(known)}", fix)
    scorer = scorer or Scorer()
    pairs = scorer.pairs(task, predicted, expected, spacing_mm)
    return {name: scorer.values(pair) for name, pair in zip(task.classes[1:], pairs, strict=True)}


def _spacing(reference: LabelMap, spacing_mm: Sequence[float] | None) -> Sequence[float]:
    if spacing_mm is not None:
        return spacing_mm
    if isinstance(reference, np.ndarray):
        raise InputError("score, spacing_mm", "none, with arrays", "(z, y, x) in mm", "give spacing_mm, or files")
    return read_geometry(reference).spacing_mm


def _values(label: LabelMap, reference: LabelMap, name: str) -> np.ndarray:
    """int16 label values."""
    if isinstance(label, np.ndarray):
        if label.dtype.kind not in "iub":
            found, fix = f"values of type {label.dtype}", "convert them with .astype(int)"
            raise InputError(f"score, {name}", found, "whole numbers", fix)
        return label.astype(np.int16)
    return read_label(label, like=label if isinstance(reference, np.ndarray) else reference)
