"""Evaluations against each other: what differs by more than noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np

from uniseg.errors import InputError
from uniseg.evaluation.records import read_scores
from uniseg.metrics.base import Metric
from uniseg.metrics.paired import ALPHA, Comparison, by_patient, compare, holm
from uniseg.run_folder import TEST, CrossvalFolder, EvaluationFolder, RunFolder

BETTER, WORSE, NOISE, FEW = "better", "worse", "noise", "too few patients to tell"


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation says of a metric.

    Attributes:
        values: (task, class) -> patient -> mean of its cases; cases without the metric are left out.
        misses: (task, class) -> cases of which nothing was found.

    Examples:
        >>> read_evaluated(Path("outputs/demo"), metric).misses["liver", "tumour"]  # doctest: +SKIP
        0
    """

    name: str
    values: Mapping[tuple[str, str], Mapping[str, float]]
    misses: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Difference:
    """One evaluation minus the first on one class; positive is better, whatever the metric.

    Attributes:
        mean, first_mean: over the patients that both have.
        p_holm: adjusted over all classes that are compared with the first.
        non_inferior: at the stated margin.
        misses, first_misses: cases missed whole.

    Examples:
        >>> differences(run, first, metric=metric, margin=0.02)[0].verdict  # doctest: +SKIP
        'noise'
    """

    task: str
    class_name: str
    mean: float
    first_mean: float
    comparison: Comparison
    p_holm: float | None
    non_inferior: bool | None
    misses: int
    first_misses: int

    @property
    def verdict(self) -> str:
        """Noise unless Holm's p is below 0.05."""
        if self.p_holm is None:
            return FEW
        if self.p_holm >= ALPHA:
            return NOISE
        return BETTER if self.comparison.difference > 0 else WORSE


def scored_folder(folder: Path) -> EvaluationFolder:
    """Where the scores lie: in the folder, pooled in that of a cross-validation, of the test cases in that of a run."""
    if EvaluationFolder(folder).scores.is_file():
        return EvaluationFolder(folder)
    crossval = CrossvalFolder(folder)
    return crossval.pooled if crossval.record.is_file() else RunFolder(folder).evaluation(TEST)


def read_evaluated(folder: Path, metric: Metric) -> Evaluated:
    """Of a run folder, of a cross-validation, or of the folder that ``uniseg.evaluate`` wrote.

    Raises:
        InputError: no scores there, or none of the metric.
    """
    path = scored_folder(folder).scores
    known: dict[tuple[str, str], list[tuple[str, float]]] = {}
    misses: dict[tuple[str, str], int] = {}
    for score in read_scores(path):
        key = (score.task, score.class_name)
        misses[key] = misses.get(key, 0) + score.complete_miss
        if not isnan(value := score.value(metric.name)):
            known.setdefault(key, []).append((score.patient_id, value))
    if not known:
        fix = "evaluate again with the rules that compute it"
        raise InputError(path, f"no {metric.name}", "scores of this metric", fix)
    values = {key: dict(zip(*by_patient(*zip(*pairs, strict=True)), strict=True)) for key, pairs in known.items()}
    return Evaluated(folder.name, values, misses)


def differences(run: Evaluated, first: Evaluated, *, metric: Metric, margin: float) -> list[Difference]:
    """Of ``run`` against ``first``; classes and patients that both have.

    Raises:
        InputError: no class and patient that both have.
    """
    sign = 1.0 if metric.higher_is_better else -1.0
    common = {}
    for key in sorted(run.values.keys() & first.values.keys()):
        patients = sorted(run.values[key].keys() & first.values[key].keys())
        if patients:
            common[key] = [np.array([each.values[key][patient] for patient in patients]) for each in (run, first)]
    if not common:
        fix = "compare runs with a common test split"
        raise InputError(run.name, f"no class and patient of {first.name}", "evaluations of the same cases", fix)
    comparisons = [compare(sign * values, sign * first_values) for values, first_values in common.values()]
    adjusted = holm([comparison.p for comparison in comparisons])
    return [
        Difference(
            task=task,
            class_name=class_name,
            mean=float(np.mean(values)),
            first_mean=float(np.mean(first_values)),
            comparison=comparison,
            p_holm=p,
            non_inferior=comparison.non_inferior(margin),
            misses=run.misses[task, class_name],
            first_misses=first.misses[task, class_name],
        )
        for ((task, class_name), (values, first_values)), comparison, p in zip(
            common.items(), comparisons, adjusted, strict=True
        )
    ]
