"""A comparison on the disk: CSV, JSON, a page."""

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from uniseg.errors import InputError
from uniseg.evaluation.scores import score_cell
from uniseg.files import write_atomically, write_json
from uniseg.reporting.compare import Difference, differences, read_evaluated

TEMPLATE = Path(__file__).with_name("compare.html.jinja")
HEAD = (
    "run", "against", "task", "class", "patients", "own", "other", "difference", "low", "high", "p", "p_holm",
    "verdict", "non_inferior",
    "wins", "ties", "losses", "complete_misses", "other_complete_misses",
)  # fmt: skip


def write_comparison(runs: Sequence[Path], output: Path, *, metric: str, margin: float) -> Path:
    """Every run against the first: ``comparison.csv``, ``comparison.json``, ``comparison.html``; returns the page's
    path.

    Raises:
        InputError: fewer than two runs, two of one name, scores that lack or share nothing.
    """
    if len(runs) < 2:
        raise InputError("runs", f"{len(runs)} runs", "two or more", "add runs=[a,b]")
    first, *others = (read_evaluated(run, metric) for run in runs)
    names = names_of(runs)
    compared = {
        name: differences(own, first, metric=metric, margin=margin) for name, own in zip(names[1:], others, strict=True)
    }
    rows = [row(name, names[0], each) for name, own in compared.items() for each in own]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE.name).render(
        first=names[0], compared=compared, metric=metric, margin=margin
    )
    content = {
        "metric": metric,
        "margin": margin,
        "against": names[0],
        "runs": {name: [_plain(each) for each in own] for name, own in compared.items()},
    }
    with write_atomically(output / "comparison.csv") as part, part.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    write_json(output / "comparison.json", content)
    with write_atomically(output / "comparison.html") as part:
        part.write_text(page, encoding="utf-8")
    return output / "comparison.html"


def names_of(runs: Sequence[Path]) -> list[str]:
    """The last part of each path that tells them apart."""
    parts = [run.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    raise InputError("runs", f"{runs[0]} twice", "different runs", "correct runs=[...]")


def row(name: str, against: str, each: Difference) -> list:
    """In the order of ``HEAD``."""
    own = each.comparison
    numbers = [each.own, each.other, own.difference, own.interval.low, own.interval.high]
    return [
        *map(score_cell, (name, against, each.task, each.class_name)),
        own.num_patients, *(f"{value:.4f}" for value in numbers),
        *("" if p is None else f"{p:.4g}" for p in (own.p, each.p_holm)), each.verdict,
        "" if each.non_inferior is None else each.non_inferior,
        own.wins, own.ties, own.losses, each.misses, each.other_misses,
    ]  # fmt: skip


def _plain(each: Difference) -> dict:
    return asdict(each) | {"verdict": each.verdict}
