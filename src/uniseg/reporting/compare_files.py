"""A comparison on the disk: CSV, JSON, a page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from uniseg.errors import InputError
from uniseg.evaluation.csv_cells import to_cell, write_rows
from uniseg.files import write_json, write_text
from uniseg.metrics.base import Metric
from uniseg.metrics.paired import FEWEST_NON_INFERIOR
from uniseg.reporting.best import Ranked, simplest
from uniseg.reporting.compare import Difference, differences, read_evaluated
from uniseg.reporting.markup import render_page

HEAD = (
    "run", "against", "task", "class", "patients", "own", "other", "difference", "low", "high", "p", "p_holm",
    "verdict", "non_inferior",
    "wins", "ties", "losses", "complete_misses", "other_complete_misses", "median", "hodges_lehmann", "unseen", "lost",
)  # fmt: skip


def write_comparison(
    runs: Sequence[Path], output: Path, *, metric: Metric, margin: float, ranking: Sequence[Ranked] = ()
) -> Path:
    """Every run against the first: ``comparison.csv``, ``comparison.json``, ``comparison.html``; returns the page's
    path.

    Args:
        ranking: where the first was chosen as the best, of all runs in this order.

    Raises:
        InputError: fewer than two runs, two of one name, scores that lack or share nothing.
    """
    if len(runs) < 2:
        raise InputError("runs", f"{len(runs)} runs", "two or more", "add runs=[a,b]")
    first, *others = (read_evaluated(run, metric) for run in runs)
    names = names_of(runs)
    compared = {
        name: differences(run, first, metric=metric, margin=margin) for name, run in zip(names[1:], others, strict=True)
    }
    given = {"metric": metric, "margin": margin, "ranking": ranking, "simplest": simplest(ranking) if ranking else ""}
    names_and_rows = {"first": names[0], "compared": compared}
    page = render_page("compare.html.jinja", **names_and_rows, **given, fewest=FEWEST_NON_INFERIOR)
    content = {
        "metric": metric.name,
        "margin": margin,
        "against": names[0],
        "runs": {name: list(map(_to_dict, rows)) for name, rows in compared.items()},
        **({"ranking": list(map(_ranked, ranking))} if ranking else {}),
    }
    write_table(compared, names[0], output)
    write_json(output / "comparison.json", content)
    write_text(output / "comparison.html", page)
    return output / "comparison.html"


def write_table(compared: Mapping[str, Sequence[Difference]], against: str, output: Path) -> None:
    """``comparison.csv``.

    Args:
        compared: run -> its differences from ``against``.
    """
    table = [row(name, against, each) for name, rows in compared.items() for each in rows]
    write_rows(output / "comparison.csv", HEAD, table)


def names_of(runs: Sequence[Path]) -> list[str]:
    """The last part of each path that tells them apart."""
    parts = [run.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise InputError("runs", f"{runs[0]} twice", "different runs", "correct runs=[...]")


def row(name: str, against: str, each: Difference) -> list:
    """In the order of ``HEAD``."""
    comparison = each.comparison
    interval = comparison.interval
    numbers = [each.mean, each.first_mean, comparison.difference, interval.low, interval.high]
    return [
        *map(to_cell, (name, against, each.task, each.class_name)),
        comparison.num_patients, *map(_number, numbers),
        *("" if p is None else f"{p:.4g}" for p in (comparison.p, each.p_holm)), each.verdict,
        "" if each.non_inferior is None else each.non_inferior,
        comparison.wins, comparison.ties, comparison.losses, each.misses, each.first_misses,
        *map(_number, (comparison.median, comparison.shift, comparison.unseen_fraction)),
        to_cell("; ".join(lost.text for lost in each.lost)),
    ]  # fmt: skip


def _number(value: float) -> str:
    return "" if value != value else f"{value:.4f}"


def _to_dict(each: Difference) -> dict:
    """By the keys of comparison.json, which are older than the names of today."""
    names = {"mean": "own", "first_mean": "other", "first_misses": "other_misses"}
    return {names.get(key, key): value for key, value in asdict(each).items()} | {"verdict": each.verdict}


def _ranked(each: Ranked) -> dict:
    candidate, comparison = each.candidate, each.comparison
    return {
        "run": candidate.name,
        "dice": candidate.score,
        "interval": asdict(candidate.interval),
        "num_patients": len(candidate.values),
        "num_parameters": candidate.num_parameters,
        "against_best": None if comparison is None else asdict(comparison),
        "p_holm": each.p_holm,
        "verdict": each.verdict,
    }
