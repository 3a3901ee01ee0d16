"""What few patients are enough for: runs over numbers of patients, seeds, ways to begin."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from matplotlib.figure import Figure

from uniseg.errors import InputError
from uniseg.metrics.paired import Comparison, by_patient, compare, holm
from uniseg.renamed import renamed_config
from uniseg.reporting.compare import Evaluated, read_evaluated
from uniseg.reporting.markup import plain
from uniseg.reporting.run import parse

WIDTH_INCHES, HEIGHT_INCHES = 7.0, 4.2
COLOURS = ("#2563a8", "#d1352b", "#2c8a4b", "#b07d12", "#7a4fa3", "#5b6674")


@dataclass(frozen=True)
class Shot:
    """One run: ``start`` is init and finetune, ``num_patients`` None for all;

    Dice per test patient, mean over the task's classes; image-blind mean.
    """

    start: str
    num_patients: int | None
    seed: int
    dice: Mapping[str, float]


@dataclass(frozen=True)
class Point:
    """One start with one number of patients.

    Attributes:
        seeds: mean Dice of each.
        against: the first start with as many patients, seeds averaged within a test patient; None for the first itself.
    """

    start: str
    num_patients: int | None
    seeds: tuple[float, ...]
    against: Comparison | None
    p_holm: float | None


def read_shots(sweep: Path) -> list[Shot]:
    """Every evaluated run below ``sweep``.

    Raises:
        InputError: there is none, or a file is malformed.
    """
    shots = [
        _read(path.parent)
        for path in sorted(sweep.rglob("config.yaml"))
        if (path.parent / "evaluation" / "scores.csv").exists()
    ]
    if not shots:
        raise InputError(
            sweep,
            "no evaluated run",
            "runs of a sweep, each trained and evaluated",
            "run uniseg.evaluate -m with the sweep's overrides",
        )
    return shots


def points(shots: Sequence[Shot]) -> list[Point]:
    """In the order of the starts, then of the numbers of patients; the first start is what the others are compared
    with.
    """
    grouped: dict[tuple[str, int | None], list[Shot]] = defaultdict(list)
    for shot in shots:
        grouped[shot.start, shot.num_patients].append(shot)
    starts = _starts(shots)
    keys = sorted(grouped, key=lambda key: (starts.index(key[0]), key[1] is None, key[1] or 0))
    compared = [
        _against(grouped[key], grouped.get((starts[0], key[1]), [])) if key[0] != starts[0] else None for key in keys
    ]
    adjusted = holm([comparison.p if comparison else None for comparison in compared])
    return [
        Point(*key, tuple(float(np.mean(list(shot.dice.values()))) for shot in grouped[key]), comparison, p)
        for key, comparison, p in zip(keys, compared, adjusted, strict=True)
    ]


def shot_figure(found: Sequence[Point], blind: float) -> Figure:
    """A line per start over the number of patients, a dot per seed, the image-blind score dashed."""
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    numbers = sorted({point.num_patients for point in found}, key=lambda n: (n is None, n or 0))
    for colour, start in zip(COLOURS, dict.fromkeys(point.start for point in found), strict=False):
        own = [point for point in found if point.start == start]
        places = [numbers.index(point.num_patients) for point in own]
        axes.plot(
            places, [np.mean(point.seeds) for point in own], color=colour, marker="_", markersize=12, label=plain(start)
        )
        for place, point in zip(places, own, strict=True):
            axes.plot([place] * len(point.seeds), point.seeds, ".", color=colour, alpha=0.7)
    axes.axhline(blind, color="#5b6674", linestyle="--", linewidth=1, label="image-blind")
    axes.set_xticks(range(len(numbers)), ["all" if n is None else str(n) for n in numbers])
    axes.set_xlabel("training patients")
    axes.set_ylabel("test Dice")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    return figure


def blind_dice(sweep: Path) -> float:
    """Mean over the runs below ``sweep`` of what can be had without the image.

    Raises:
        InputError: a malformed file.
    """
    found = [parse(path, _blind_mean) for path in sorted(sweep.rglob("metrics.json"))]
    return float(np.mean([value for value in found if value is not None]))


def _blind_mean(text: str) -> float | None:
    value = json.loads(text)["blind_mean_dice"]
    return None if value is None else float(value)


def _read(run: Path) -> Shot:
    start, num_patients, seed = parse(run / "config.yaml", _choices)
    return Shot(start, num_patients, seed, _per_patient(read_evaluated(run, "dice")))


def _choices(text: str) -> tuple[str, int | None, int]:
    config = renamed_config(yaml.safe_load(text))
    num_patients = config["data"]["num_patients"]
    return _start(config), None if num_patients is None else int(num_patients), int(config["seed"])


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


def _against(own: Sequence[Shot], other: Sequence[Shot]) -> Comparison | None:
    if not other:
        return None
    patients = sorted(set.intersection(*(set(shot.dice) for shot in (*own, *other))))
    return compare(*(np.array([[shot.dice[p] for p in patients] for shot in shots]).mean(0) for shots in (own, other)))
