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

NUM_LOST = 4  # patients whose loss a page names; the files name all
ROUNDING = 1e-9  # of a loss of just the margin
BETTER, WORSE, MIXED, NOISE, FEW = "better", "worse", "mixed", "noise", "too few patients to tell"


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation says of a metric.

    Attributes:
        values: (task, class) -> patient -> mean of its cases; cases without the metric are left out.
        misses: (task, class) -> patient of each case of which nothing was found.

    Examples:
        >>> read_evaluated(Path("outputs/demo"), metric).misses["liver", "tumour"]  # doctest: +SKIP
        ('patient_7',)
    """

    name: str
    values: Mapping[tuple[str, str], Mapping[str, float]]
    misses: Mapping[tuple[str, str], tuple[str, ...]]


@dataclass(frozen=True)
class LostPatient:
    """A patient on whom an evaluation is worse than the first.

    Attributes:
        difference: of the metric, below 0 where it is worse.
        missed: a case of theirs was missed whole, which the first did not miss.

    Examples:
        >>> LostPatient("patient_7", -0.812, missed=True).text
        'patient_7 -0.812, missed whole'
    """

    patient_id: str
    difference: float
    missed: bool

    @property
    def text(self) -> str:
        return f"{self.patient_id} {self.difference:+.3f}{', missed whole' if self.missed else ''}"


@dataclass(frozen=True)
class Difference:
    """One evaluation minus the first on one class; positive is better, whatever the metric.

    Attributes:
        mean, first_mean: over the patients that both have.
        p_holm: adjusted over all classes that are compared with the first.
        non_inferior: at the stated margin; None: fewer than twenty patients cannot tell.
        misses, first_misses: cases missed whole.
        lost: patients missed whole, or worse by more than the margin, the worst first.

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
    lost: tuple[LostPatient, ...] = ()

    @property
    def lost_text(self) -> str:
        """For a cell."""
        named = [each.text for each in self.lost[:NUM_LOST]]
        more = len(self.lost) - len(named)
        return "; ".join([*named, *([f"{more} more"] if more else [])])

    @property
    def verdict(self) -> str:
        """Noise unless Holm's p is below 0.05; mixed where most patients went one way and the mean, by few, the other.

        The test is of ranks, so its direction is the shift's.
        """
        if self.p_holm is None:
            return FEW
        if self.p_holm >= ALPHA:
            return NOISE
        if self.comparison.difference * self.comparison.shift <= 0:
            return MIXED
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
    misses: dict[tuple[str, str], tuple[str, ...]] = {}
    for score in read_scores(path):
        key = (score.task, score.class_name)
        misses[key] = (*misses.get(key, ()), *([score.patient_id] if score.complete_miss else []))
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
    common = {}
    for key in sorted(run.values.keys() & first.values.keys()):
        if patients := sorted(run.values[key].keys() & first.values[key].keys()):
            common[key] = patients
    if not common:
        fix = "compare runs with a common test split"
        raise InputError(run.name, f"no class and patient of {first.name}", "evaluations of the same cases", fix)
    values, first_values = (
        {key: np.array([each.values[key][patient] for patient in patients]) for key, patients in common.items()}
        for each in (run, first)
    )
    sign = 1.0 if metric.higher_is_better else -1.0
    comparisons = {key: compare(sign * values[key], sign * first_values[key]) for key in common}
    adjusted = holm([comparison.p for comparison in comparisons.values()])
    return [
        Difference(
            *key,
            mean=float(np.mean(values[key])),
            first_mean=float(np.mean(first_values[key])),
            comparison=comparison,
            p_holm=p,
            non_inferior=comparison.non_inferior(margin),
            misses=len(run.misses[key]),
            first_misses=len(first.misses[key]),
            lost=_lost(
                dict(zip(common[key], (sign * (values[key] - first_values[key])).tolist(), strict=True)),
                set(run.misses[key]) - set(first.misses[key]),
                margin,
            ),
        )
        for (key, comparison), p in zip(comparisons.items(), adjusted, strict=True)
    ]


def _lost(changes: Mapping[str, float], missed: set[str], margin: float) -> tuple[LostPatient, ...]:
    """Of the differences of each patient; margin 0 lists all who lost."""
    lost = [
        LostPatient(patient, difference, patient in missed)
        for patient, difference in changes.items()
        if patient in missed or difference < -margin - ROUNDING
    ]
    return tuple(sorted(lost, key=lambda each: each.difference))
