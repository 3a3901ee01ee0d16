"""A few-shot sweep on the disk: table, figure."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from uniseg.files import write_atomically, write_json
from uniseg.reporting.fewshot import Point, blind_dice, points, read_shots, shot_figure
from uniseg.reporting.markup import cell

DPI = 110


def write_fewshot(sweep: Path, output: Path) -> Path:
    """``fewshot.md``, ``fewshot.json``, ``fewshot.png``; returns the table's path.

    Raises:
        InputError: no evaluated run below ``sweep``, or a malformed file.
    """
    found, blind = points(read_shots(sweep)), blind_dice(sweep)
    figure = shot_figure(found, blind)
    with write_atomically(output / "fewshot.png") as part:
        figure.savefig(part, format="png", dpi=DPI)
    write_json(output / "fewshot.json", {"blind_dice": blind, "points": [asdict(point) for point in found]})
    with write_atomically(output / "fewshot.md") as part:
        part.write_text(table(found, blind), encoding="utf-8")
    return output / "fewshot.md"


def table(found: Sequence[Point], blind: float) -> str:
    """Markdown: mean over test patients, then seeds, with their standard deviation; the difference to the first start
    with its interval.
    """
    lines = [
        "| start | training patients | seeds | test Dice | difference to the first start | 95 % interval | p (Holm) |",
        "|---|---|---|---|---|---|---|",
    ]
    for point in found:
        spread = f" ± {np.std(point.seeds, ddof=1):.3f}" if len(point.seeds) > 1 else ""
        own = point.against
        told = (
            ("", "", "")
            if own is None
            else (f"{own.difference:+.3f}", f"{own.interval.low:+.3f} to {own.interval.high:+.3f}", _p(point.p_holm))
        )
        number = "all" if point.num_patients is None else point.num_patients
        lines.append(
            f"| {cell(point.start)} | {number} | {len(point.seeds)} | {np.mean(point.seeds):.3f}{spread} | "
            f"{' | '.join(told)} |"
        )
    lines.append(f"| image-blind | | | {blind:.3f} | | | |")
    return "\n".join(lines) + "\n"


def _p(value: float | None) -> str:
    return "too few" if value is None else f"{value:.3g}"
