"""What few patients are enough for: runs over numbers of patients, seeds, ways to begin."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from uniseg.errors import InputError
from uniseg.evaluation.records import Summary
from uniseg.evaluation.summary import mean
from uniseg.evaluation.verdict import Verdict
from uniseg.files import MALFORMED
from uniseg.metrics.base import Metric
from uniseg.metrics.paired import Comparison, by_patient, compare, holm
from uniseg.reporting.compare import Evaluated, read_evaluated
from uniseg.reporting.markup import plain
from uniseg.reporting.run_files import read_config
from uniseg.run_folder import TEST, RunFolder

WIDTH_INCHES, HEIGHT_INCHES = 7.0, 4.2
COLOURS = ("#2563a8", "#d1352b", "#2c8a4b", "#b07d12", "#7a4fa3", "#5b6674")


@dataclass(frozen=True)
class Shot:
    """One run.

    Attributes:
        start: init and finetune.
        num_patients: None for all.
        values: of the metric per test patient, mean over the task's classes.
        verdict: on a fine-tuning against its control; None where it had none.

    Examples:
        >>> Shot("scratch", num_patients=5, seed=0, values={"patient_1": 0.8}).num_patients
        5
    """

    start: str
    num_patients: int | None
    seed: int
    values: Mapping[str, float]
    verdict: str | None = None


@dataclass(frozen=True)
class Point:
    """One start with one number of patients.

    Attributes:
        seeds: mean of the metric for each.
        verdicts: outcome -> number of runs, of those with a control beside them.
        against: the first start with as many patients, seeds averaged within a test patient; None for the first itself.

    Examples:
        >>> points(read_shots(Path("outputs/sweep"), metric), metric)[0].seeds  # doctest: +SKIP
        (0.81, 0.79)
    """

    start: str
    num_patients: int | None
    seeds: tuple[float, ...]
    against: Comparison | None
    p_holm: float | None
    verdicts: Mapping[str, int] = field(default_factory=dict)


def read_shots(sweep: Path, metric: Metric) -> list[Shot]:
    """Every evaluated run below ``sweep``.

    Raises:
        InputError: no evaluated run, or a file is malformed.
    """
    runs = [RunFolder(path.parent) for path in sorted(sweep.rglob(RunFolder(sweep).config.name))]
    shots = [_read(run, metric) for run in runs if run.evaluation(TEST).scores.exists()]
    if not shots:
        fix = "run uniseg.evaluate -m with the sweep's overrides"
        raise InputError(sweep, "no evaluated run", "runs of a sweep, each trained and evaluated", fix)
    return shots


def points(shots: Sequence[Shot], metric: Metric) -> list[Point]:
    """In the order of the starts, then of the numbers of patients; the first start is what the others are compared
    with. A positive difference is better, whatever the metric.
    """
    grouped: dict[tuple[str, int | None], list[Shot]] = defaultdict(list)
    for shot in shots:
        grouped[shot.start, shot.num_patients].append(shot)
    starts = _starts(shots)
    keys = sorted(grouped, key=lambda key: (starts.index(key[0]), key[1] is None, key[1] or 0))
    compared = [
        _against(grouped[key], grouped.get((starts[0], key[1]), []), metric) if key[0] != starts[0] else None
        for key in keys
    ]
    adjusted = holm([comparison.p if comparison else None for comparison in compared])
    return [
        Point(
            *key,
            tuple(float(np.mean(list(shot.values.values()))) for shot in grouped[key]),
            comparison,
            p,
            dict(Counter(shot.verdict for shot in grouped[key] if shot.verdict is not None)),
        )
        for key, comparison, p in zip(keys, compared, adjusted, strict=True)
    ]


def shot_figure(rows: Sequence[Point], metric: Metric, baseline: float | None) -> Figure:
    """A line per start over the number of patients, a dot per seed, the majority-vote baseline dashed."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    numbers = sorted({point.num_patients for point in rows}, key=lambda n: (n is None, n or 0))
    for colour, start in zip(COLOURS, dict.fromkeys(point.start for point in rows), strict=False):
        line = [point for point in rows if point.start == start]
        ticks, means = [numbers.index(point.num_patients) for point in line], [np.mean(point.seeds) for point in line]
        axes.plot(ticks, means, color=colour, marker="_", markersize=12, label=plain(start))
        for tick, point in zip(ticks, line, strict=True):
            axes.plot([tick] * len(point.seeds), point.seeds, ".", color=colour, alpha=0.7)
    if baseline is not None:
        axes.axhline(baseline, color="#5b6674", linestyle="--", linewidth=1, label="majority-vote baseline")
    axes.set_xticks(range(len(numbers)), ["all" if n is None else str(n) for n in numbers])
    axes.set_xlabel("training patients")
    axes.set_ylabel(plain(f"test {metric.head}"))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    return figure


def mean_baseline(sweep: Path, metric: Metric) -> float | None:
    """Mean over the runs below ``sweep`` of what can be had without the image; known of the Dice alone.

    Raises:
        InputError: a malformed file.
    """
    if metric.name != "dice":
        return None
    paths = sorted(sweep.rglob(RunFolder(sweep).evaluation(TEST).metrics.relative_to(sweep).as_posix()))
    return mean(Summary.read(path).baseline_mean_dice for path in paths)


def _read(run: RunFolder, metric: Metric) -> Shot:
    config = read_config(run.config)
    try:
        num_patients, seed = config["data"]["num_patients"], int(config["seed"])
        start, num_patients = _start(config), None if num_patients is None else int(num_patients)
    except (KeyError, *MALFORMED) as error:
        found = f"{type(error).__name__} ({error})"
        raise InputError(run.config, found, "init, finetune, seed, data.num_patients", "restore the file") from error
    verdict = Verdict.read(run.verdict).outcome if run.verdict.exists() else None
    return Shot(start, num_patients, seed, _per_patient(read_evaluated(run.path, metric)), verdict)


def _start(config: Mapping) -> str:
    init, finetune = config["init"]["name"], config["finetune"]["name"]
    return f"{init}" if finetune == "full" else f"{init}, {finetune}"


def _per_patient(evaluated: Evaluated) -> dict[str, float]:
    pairs = [pair for values in evaluated.values.values() for pair in values.items()]
    return dict(zip(*by_patient(*zip(*pairs, strict=True)), strict=True))


def _starts(shots: Sequence[Shot]) -> list[str]:
    """``scratch`` first where it is there: what a pre-training is measured against."""
    names = list(dict.fromkeys(shot.start for shot in shots))
    return sorted(names, key=lambda name: (name != "scratch", names.index(name)))


def _against(shots: Sequence[Shot], first: Sequence[Shot], metric: Metric) -> Comparison | None:
    if not first:
        return None
    patients = sorted(set.intersection(*(set(shot.values) for shot in (*shots, *first))))
    sign = 1.0 if metric.higher_is_better else -1.0
    tables = [np.array([[shot.values[patient] for patient in patients] for shot in runs]) for runs in (shots, first)]
    return compare(*(sign * table.mean(0) for table in tables))
