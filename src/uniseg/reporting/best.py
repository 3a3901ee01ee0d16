"""Which of several configurations is the best by its out-of-fold scores, and whether it can be told from the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniseg.errors import InputError
from uniseg.evaluation.records import Summary
from uniseg.metrics.base import Metric
from uniseg.metrics.paired import ALPHA, FEWEST, Comparison, Interval, compare, holm, mean_interval
from uniseg.reporting.compare import Evaluated, read_evaluated, scored_folder
from uniseg.run_folder import TEST, CrossvalFolder
from uniseg.weights.transfer_report import WeightsReport

TOO_FEW = f"too few patients to tell, {FEWEST} are needed"
EXPECTED = "a folder of uniseg.crossval that came to its end, or of uniseg.evaluate pool=[...]"


@dataclass(frozen=True)
class Candidate:
    """A configuration with its out-of-fold scores.

    Attributes:
        values: patient -> what makes the mean over patients the mean over patients, then tasks.
        interval: of that mean, 95 %.
        scored: (task, class, patient) of every value.
        num_parameters: of its network; None: not known.

    Examples:
        >>> Candidate("a", Path("a"), {"p": 0.5}, Interval(0.5, 0.5), frozenset(), None).score
        0.5
    """

    name: str
    folder: Path
    values: Mapping[str, float]
    interval: Interval
    scored: frozenset[tuple[str, str, str]]
    num_parameters: int | None

    @property
    def score(self) -> float:
        return float(np.mean(list(self.values.values())))


@dataclass(frozen=True)
class Ranked:
    """A configuration against the best.

    Attributes:
        comparison: None for the best itself.
        p_holm: adjusted over all others; None: too few patients, or the best.

    Examples:
        >>> candidate = Candidate("a", Path("a"), {"p": 0.5}, Interval(0.5, 0.5), frozenset(), None)
        >>> Ranked(candidate, None, None).verdict
        'best'
    """

    candidate: Candidate
    comparison: Comparison | None
    p_holm: float | None

    @property
    def verdict(self) -> str:
        if self.comparison is None:
            return "best"
        if self.p_holm is None:
            return TOO_FEW
        worse = self.p_holm < ALPHA and self.comparison.shift < 0  # of most patients, too
        return "worse" if worse else "cannot be told from the best"

    @property
    def is_worse(self) -> bool:
        return self.verdict == "worse"

    def line(self) -> str:
        candidate, interval = self.candidate, self.candidate.interval
        count = f"{len(candidate.values)} patient{'s' * (len(candidate.values) != 1)}"
        limits = f"95 % interval {interval.low:.3f} to {interval.high:.3f}, {count}"
        if self.comparison is None:
            return f"Best: {candidate.name}, val Dice {candidate.score:.3f} ({limits})."
        difference = self.comparison
        between = f"{difference.interval.low:+.3f} to {difference.interval.high:+.3f}"
        p = "" if self.p_holm is None else f", p {self.p_holm:.2g}"
        return (
            f"{candidate.name}: {self.verdict}; val Dice {candidate.score:.3f}, difference "
            f"{difference.difference:+.3f} ({between}{p})."
        )


def patient_values(
    values: Mapping[tuple[str, str], Mapping[str, float]], *, around_means: bool = False
) -> dict[str, float]:
    """A number for every patient such that their mean is the mean over patients, then tasks; for one task that of the
    patient's classes.

    Args:
        values: (task, class) -> patient -> value.
        around_means: with the same mean, but each patient as far from it as from that of the task: what a mean's
            interval wants, since tasks are not drawn. Differences do without: they are to lie around 0.

    Examples:
        >>> patient_values({("a", "x"): {"p": 0.5, "q": 0.7}, ("a", "y"): {"p": 0.7, "q": 0.9}})
        {'p': 0.6, 'q': 0.8}
    """
    by_task: dict[str, dict[str, list[float]]] = {}
    for (task, _), of_class in values.items():
        for patient, value in of_class.items():
            by_task.setdefault(task, {}).setdefault(patient, []).append(value)
    everyone = sorted({patient for patients in by_task.values() for patient in patients})
    task_means = {
        task: float(np.mean([np.mean(of_classes) for of_classes in patients.values()]))
        for task, patients in by_task.items()
    }
    start = float(np.mean(list(task_means.values()))) if around_means and task_means else 0.0
    result = dict.fromkeys(everyone, start)
    for task, patients in by_task.items():
        weight, centre = len(everyone) / (len(by_task) * len(patients)), task_means[task] if around_means else 0.0
        for patient, of_classes in patients.items():
            result[patient] += weight * (float(np.mean(of_classes)) - centre)
    return result


def compare_pooled(run: Evaluated, other: Evaluated) -> tuple[float, float, Comparison]:
    """Means over patients, then tasks, of what both have; and one against the other.

    Raises:
        InputError: nothing that both have.
    """
    common = {key: run.values[key].keys() & other.values[key].keys() for key in run.values.keys() & other.values.keys()}
    values, other_values = (
        np.array(list(patient_values({k: {p: each.values[k][p] for p in ps} for k, ps in common.items()}).values()))
        for each in (run, other)
    )
    if not len(values):
        raise InputError(
            run.name, f"no class and patient of {other.name}", "evaluations of the same cases", "give both"
        )
    return float(values.mean()), float(other_values.mean()), compare(values, other_values)


def read_candidate(folder: Path, name: str, metric: Metric) -> Candidate:
    """
    Raises:
        InputError: no pooled scores there, or scores of test cases.
    """
    scored = scored_folder(folder)
    if not scored.scores.is_file():
        raise InputError(folder, "no pooled scores", EXPECTED, "give the command of its cross-validation again")
    if scored.metrics.is_file() and Summary.read(scored.metrics).split == TEST:
        found, fix = "scores of test cases", "choose by val, then evaluate the chosen one on test"
        raise InputError(folder, found, EXPECTED, fix)
    evaluated = read_evaluated(folder, metric)
    keys = frozenset((*key, patient) for key, patients in evaluated.values.items() for patient in patients)
    weights = CrossvalFolder(folder).fold(0).transfer_report
    parameters = WeightsReport.read(weights).total if weights.is_file() else None
    around = patient_values(evaluated.values, around_means=True)
    interval = mean_interval(np.array(list(around.values())))
    return Candidate(name, folder, patient_values(evaluated.values), interval, keys, parameters)


def rank(candidates: Sequence[Candidate]) -> list[Ranked]:
    """The best first; each other one paired with it over patients.

    Raises:
        InputError: fewer than two, or scores of other cases.
    """
    if len(candidates) < 2:
        raise InputError("runs", f"{len(candidates)} runs", "two or more", "add runs=[a,b]")
    first = candidates[0]
    for each in candidates[1:]:
        if odd := sorted(first.scored ^ each.scored):
            task, class_name, patient = odd[0]
            owner = first if odd[0] in first.scored else each
            found = f"class '{class_name}' of '{task}' in patient '{patient}' for {owner.name} alone"
            raise InputError("runs", found, "the same cases in all", "give cross-validations of the same cases")
    best, *others = sorted(candidates, key=lambda each: each.score, reverse=True)
    values = np.array(list(best.values.values()))
    comparisons = [compare(np.array([each.values[patient] for patient in best.values]), values) for each in others]
    adjusted = holm([comparison.p for comparison in comparisons])
    return [Ranked(best, None, None), *map(Ranked, others, comparisons, adjusted)]


def simplest(ranking: Sequence[Ranked]) -> str:
    """Names the network with the fewest parameters among the best and those not told from it; empty where that is the
    best, or numbers are not known.
    """
    best, *others = (each.candidate for each in ranking if not each.is_worse)
    known = [each for each in others if each.num_parameters is not None]
    if best.num_parameters is None or not known:
        return ""
    least = min(known, key=lambda each: each.num_parameters or 0)
    if (least.num_parameters or 0) >= best.num_parameters:
        return ""
    return (
        f"Simpler, and not told from the best: {least.name} with {least.num_parameters:,} parameters instead of "
        f"{best.num_parameters:,}."
    )


def lines(ranking: Sequence[Ranked]) -> list[str]:
    """For a person: the best, every other one against it, the simpler one."""
    told = [each.line() for each in ranking]
    return [*told, *([simple] if (simple := simplest(ranking)) else [])]
