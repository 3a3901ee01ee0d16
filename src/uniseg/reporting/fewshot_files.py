"""A few-shot sweep on the disk: table, figure."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from uniseg.evaluation.baseline import DEFINITION
from uniseg.files import write_atomically, write_json, write_text
from uniseg.metrics.base import Metric
from uniseg.reporting.fewshot import Point, mean_baseline, points, read_shots, shot_figure
from uniseg.reporting.markup import cell

DPI = 110


def write_fewshot(sweep: Path, output: Path, metric: Metric) -> Path:
    """``fewshot.md``, ``fewshot.json``, ``fewshot.png``; returns the table's path.

    Raises:
        InputError: no evaluated run below ``sweep``, or a malformed file.
    """
    rows, baseline = points(read_shots(sweep, metric), metric), mean_baseline(sweep, metric)
    figure = shot_figure(rows, metric, baseline)
    content = {"metric": metric.name, "blind_dice": baseline, "points": [asdict(point) for point in rows]}
    with write_atomically(output / "fewshot.png") as part:
        figure.savefig(part, format="png", dpi=DPI)
    write_json(output / "fewshot.json", content)
    write_text(output / "fewshot.md", table(rows, metric, baseline))
    return output / "fewshot.md"


def table(rows: Sequence[Point], metric: Metric, baseline: float | None) -> str:
    """Markdown: mean over test patients, then seeds, with their standard deviation; the difference to the first start
    with its interval.
    """
    heads = ["start", "training patients", "seeds", f"test {cell(metric.head)}", "difference to the first start"]
    heads += ["95 % interval", "p (Holm)"]
    judged = any(point.verdicts for point in rows)
    heads += ["verdicts on val"] if judged else []
    cells = [[*_cells(point), *([_verdicts(point)] if judged else [])] for point in rows]
    lines = [_line(heads), "|---" * len(heads) + "|", *map(_line, cells)]
    if baseline is not None:
        row = ["majority-vote baseline", "", "", f"{baseline:.3f}"]
        lines += [_line([*row, *[""] * (len(heads) - len(row))]), "", DEFINITION]
    return "\n".join(lines) + "\n"


def _cells(point: Point) -> list[str]:
    spread = f" ± {np.std(point.seeds, ddof=1):.3f}" if len(point.seeds) > 1 else ""
    number = "all" if point.num_patients is None else str(point.num_patients)
    comparison = point.against
    compared = ["", "", ""]
    if comparison is not None:
        compared = [f"{comparison.difference:+.3f}", comparison.interval.text, _p(point.p_holm)]
    return [cell(point.start), number, str(len(point.seeds)), f"{np.mean(point.seeds):.3f}{spread}", *compared]


def _verdicts(point: Point) -> str:
    """How often each was said of the runs with a control beside them."""
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(point.verdicts.items()))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _p(value: float | None) -> str:
    return "too few" if value is None else f"{value:.3g}"
