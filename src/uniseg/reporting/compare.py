"""Evaluations side by side: what differs by more than noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np

from uniseg.errors import InputError
from uniseg.evaluation.records import read_scores
from uniseg.metrics.base import Metric
from uniseg.metrics.paired import ALPHA, Comparison, by_patient, compare, holm
from uniseg.run_folder import TEST, EvaluationFolder, RunFolder

BETTER, WORSE, NOISE, FEW = "better", "worse", "noise", "too few patients to tell"


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation says of a metric.

    Attributes:
        values: (task, class) -> patient -> mean of its cases; cases without the metric are left out.
        misses: (task, class) -> cases of which nothing was found.
    """

    name: str
    values: Mapping[tuple[str, str], Mapping[str, float]]
    misses: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Difference:
    """One evaluation minus the first on one class; positive is better, whatever the metric.

    Attributes:
        own, other: means over the patients that both have.
        p_holm: adjusted over all classes that are compared with the first.
        non_inferior: at the stated margin.
        misses, other_misses: cases missed whole.
    """

    task: str
    class_name: str
    own: float
    other: float
    comparison: Comparison
    p_holm: float | None
    non_inferior: bool | None
    misses: int
    other_misses: int

    @property
    def verdict(self) -> str:
        """Noise unless Holm's p is below 0.05."""
        if self.p_holm is None:
            return FEW
        if self.p_holm >= ALPHA:
            return NOISE
        return BETTER if self.comparison.difference > 0 else WORSE


def read_evaluated(folder: Path, metric: Metric) -> Evaluated:
    """Of a run folder, or of the folder that ``uniseg.evaluate`` wrote.

    Raises:
        InputError: no scores there, or none of the metric.
    """
    scored, of_run = EvaluationFolder(folder).scores, RunFolder(folder).evaluation(TEST).scores
    path = scored if scored.is_file() else of_run
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


def differences(own: Evaluated, other: Evaluated, *, metric: Metric, margin: float) -> list[Difference]:
    """``other`` is what ``own`` is measured against; classes and patients that both have.

    Raises:
        InputError: they share none.
    """
    sign = 1.0 if metric.higher_is_better else -1.0
    found = []
    for key in own.values.keys() & other.values.keys():
        patients = sorted(own.values[key].keys() & other.values[key].keys())
        if patients:
            found.append((key, *([evaluated.values[key][p] for p in patients] for evaluated in (own, other))))
    if not found:
        raise InputError(
            own.name,
            f"no class and patient of {other.name}",
            "evaluations of the same cases",
            "compare runs with a common test split",
        )
    found.sort(key=lambda entry: entry[0])
    comparisons = [compare(sign * np.array(a), sign * np.array(b)) for _, a, b in found]
    adjusted = holm([comparison.p for comparison in comparisons])
    return [
        Difference(
            *key,
            float(np.mean(a)),
            float(np.mean(b)),
            comparison,
            p,
            comparison.non_inferior(margin),
            own.misses[key],
            other.misses[key],
        )
        for (key, a, b), comparison, p in zip(found, comparisons, adjusted, strict=True)
    ]
