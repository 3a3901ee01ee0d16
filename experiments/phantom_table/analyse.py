"""Outputs of run.py -> results.json, table.md, dice.png, matrix.png beside this file.

python experiments/phantom_table/analyse.py
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from choice import Chosen, choose
from figures import dice_figure, label_of, matrix_figure
from jobs import ARMS, FEW_STEPS, LADDER, NAMES, OUTPUTS, SEEDS, STEPS, UNISEG
from matplotlib.figure import Figure
from results import (
    ArmScores,
    Compared,
    Overall,
    against,
    arm_scores,
    dice_matrix,
    finished,
    matrix_is_finished,
    overall,
)

from uniseg.reporting.provenance import environment_rows

HERE = Path(__file__).parent
DPI = 90


def dice_table(arms: Sequence[ArmScores]) -> list[list[str]]:
    """Mean over patients, then seeds, with the standard deviation of the seeds."""
    baseline = [scores.baseline.mean() for scores in arms[0].tasks]
    rows = [["task", "majority vote", *(scores.arm.title for scores in arms)]]
    for name, task_baseline in zip(NAMES, baseline, strict=True):
        rows.append(
            [
                label_of(name),
                f"{task_baseline:.3f}",
                *(_spread(task_scores.seed_means if (task_scores := scores.on(name)) else None) for scores in arms),
            ]
        )
    rows.append(["**mean**", f"{np.mean(baseline):.3f}", *(_spread(scores.overall) for scores in arms)])
    rows.append(["mean, nnU-Net's convention", "", *(_spread(scores.overall_nnunet) for scores in arms)])
    return [*rows, ["image share of the prompts", "", *(_share(scores.image_share) for scores in arms)]]


def difference_table(compared: dict[str, list[Compared]], titles: dict[str, str]) -> list[list[str]]:
    """UniSeg minus each arm, with Holm's p."""
    cells = {
        (arm, row.task): f"{row.comparison.difference:+.3f} ({_p(row.p_holm)})"
        for arm, rows in compared.items()
        for row in rows
    }
    return [
        ["task", *(titles[arm] for arm in compared)],
        *([label_of(name), *(cells.get((arm, name), "") for arm in compared)] for name in NAMES),
    ]


def overall_table(totals: dict[str, Overall], titles: dict[str, str]) -> list[list[str]]:
    """UniSeg minus each arm over the patients of all tasks."""
    rows = [["arm", "difference", "interval over patients", "with the luck of trainings", "tasks UniSeg is ahead on"]]
    for arm, total in totals.items():
        difference, interval = total.comparison.difference, total.comparison.interval.text
        rows.append([titles[arm], f"{difference:+.3f}", interval, total.with_luck.text, f"{total.tasks_ahead}"])
    return rows


def choice_table(chosen: dict[str, Chosen], titles: dict[str, str]) -> list[list[str]]:
    """Val Dice of every candidate; the chosen one is bold."""
    tried = [rate for rate in LADDER if any(rate in choice.val for choice in chosen.values())]
    rows = [["arm", *map(str, tried)]]
    for arm, choice in chosen.items():
        cells = {rate: f"{val:.3f}" for rate, val in choice.val.items()}
        cells[choice.learning_rate] = f"**{cells[choice.learning_rate]}**"
        rows.append([titles[arm], *(cells.get(rate, "") for rate in tried)])
    return rows


def matrix_table(matrix: np.ndarray) -> list[list[str]]:
    names = [label_of(name) for name in NAMES]
    return [
        ["scans of", *names],
        *(
            [name, *(f"{value:.2f}" if np.isfinite(value) else "" for value in row)]
            for name, row in zip(names, matrix, strict=True)
        ),
    ]


def _spread(seeds: np.ndarray | None) -> str:
    return "" if seeds is None else f"{seeds.mean():.3f} ± {seeds.std(ddof=1):.3f}"


def _share(values: np.ndarray) -> str:
    """From the lowest network to the highest."""
    return f"{values.min():.1e} to {values.max():.1e}" if len(values) else ""


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def _to_json(
    arms: Sequence[ArmScores],
    compared: dict[str, list[Compared]],
    totals: dict[str, Overall],
    chosen: dict[str, Chosen],
    matrix: np.ndarray,
) -> dict:
    return {
        "environment": dict(environment_rows()),
        "steps": {"joint": STEPS, "single": FEW_STEPS},
        "seeds": list(SEEDS),
        "learning_rates": {
            arm: {
                "chosen": choice.learning_rate,
                "dev_dice": {str(rate): val for rate, val in choice.val.items()},
            }
            for arm, choice in chosen.items()
        },
        "blind": {scores.task: _round(scores.baseline.mean()) for scores in arms[0].tasks},
        "dice_per_seed": {
            scores.arm.name: {task_scores.task: _round(task_scores.seed_means) for task_scores in scores.tasks}
            for scores in arms
        },
        "dice_nnunet_per_seed": {
            scores.arm.name: {task_scores.task: _round(task_scores.nnunet) for task_scores in scores.tasks}
            for scores in arms
        },
        "image_share": {scores.arm.name: scores.image_share.tolist() for scores in arms},
        "patients": {scores.task: len(scores.patients) for scores in arms[0].tasks},
        "uniseg_minus": {
            arm: {
                row.task: {
                    "difference": _round(row.comparison.difference),
                    "patients": row.comparison.num_patients,
                    "p": row.comparison.p,
                    "p_holm": row.p_holm,
                }
                for row in rows
            }
            for arm, rows in compared.items()
        },
        "uniseg_minus_over_all_tasks": {
            arm: {
                "difference": _round(total.comparison.difference),
                "interval": _round([total.comparison.interval.low, total.comparison.interval.high]),
                "interval_with_luck": _round([total.with_luck.low, total.with_luck.high]),
                "tasks_ahead": total.tasks_ahead,
            }
            for arm, total in totals.items()
        },
        "asked": {
            "order": list(NAMES),
            "dice_per_seed": [[[None if np.isnan(v) else _round(v) for v in row] for row in one] for one in matrix],
        },
    }


def _round(value):
    return np.round(value, 5).tolist()


def _save(figure: Figure, path: Path) -> None:
    part = path.with_name(f".part_{path.name}")
    figure.savefig(part, dpi=DPI)
    os.replace(part, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=OUTPUTS)
    parser.add_argument("--output", type=Path, default=HERE)
    options = parser.parse_args()
    done = finished(ARMS, options.runs)
    if UNISEG not in done or not matrix_is_finished(options.runs):
        sys.exit(f"error: {options.runs}: UniSeg is not finished; run experiments/phantom_table/run.py")
    sys.stderr.write("".join(f"left out, not finished: {arm.title}\n" for arm in ARMS if arm not in done))
    arms = [arm_scores(arm, options.runs) for arm in done]
    titles = {arm.name: arm.title for arm in done}
    chosen = choose(done, options.runs)
    compared = {scores.arm.name: against(arms[0], scores) for scores in arms[1:]}
    totals = {scores.arm.name: overall(arms[0], scores) for scores in arms[1:]}
    matrix = dice_matrix(options.runs)
    seed_means = np.stack([scores.seed_means for scores in arms[0].tasks], axis=1)
    assert np.allclose(
        np.diagonal(matrix, axis1=1, axis2=2), seed_means, atol=1e-4
    )  # a task predicted on its own scans is the table's
    tables = [
        ("Test Dice: mean ± standard deviation of the seeds", dice_table(arms)),
        ("UniSeg minus the arm, over the patients of all tasks", overall_table(totals, titles)),
        (
            "UniSeg minus the arm, mean over patients (p: these three networks each; Wilcoxon over patients, Holm "
            "over the column)",
            difference_table(compared, titles),
        ),
        ("Learning rate: val Dice of short trainings, the chosen one bold", choice_table(chosen, titles)),
        (
            "UniSeg: every task (columns) predicted on every dataset's test scans (rows), Dice against the whole truth",
            matrix_table(matrix.mean(0)),
        ),
    ]
    text = "\n\n".join(f"**{title}**\n\n{_markdown(rows)}" for title, rows in tables) + "\n"
    sys.stdout.write(text)
    (options.output / "table.md").write_text(text)
    (options.output / "results.json").write_text(
        json.dumps(_to_json(arms, compared, totals, chosen, matrix), indent=1) + "\n"
    )
    _save(dice_figure(arms), options.output / "dice.png")
    _save(matrix_figure(matrix.mean(0)), options.output / "matrix.png")


if __name__ == "__main__":
    main()
