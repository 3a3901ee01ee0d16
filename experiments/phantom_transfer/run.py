"""Fine-tuning part by part on phantoms: start, schedule, norm restoring, each alone; 1 to 16 patients; two targets.

    python experiments/phantom_transfer/run.py --processes 2 --minutes 120

Every step is a command of uniseg. What is done stays done: started again it goes on, so that it can be had in chunks.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from study import (
    ARMS,
    BOTH,
    HERE,
    LADDER,
    LEARNING_RATES,
    NEW,
    NUM_PATIENTS,
    SEEDS,
    TARGETS,
    Choice,
    Run,
    Study,
    choose,
    make_data,
    mean_dice,
    per_patient,
    score,
    slug,
    train_base,
)

from uniseg.metrics.paired import Comparison, compare, holm

# Share of a part: an arm against the one that lacks it.
PARTS = {
    "start": ("base", NEW),
    "norms restored": (BOTH, "base, sawtooth"),
    "norms restored alone": ("base, norms restored", "base"),
    "sawtooth": (BOTH, "base, norms restored"),
    "sawtooth alone": ("base, sawtooth", "base"),
}


def entries(study: Study, choices: Sequence[Choice]) -> list[Run]:
    root = study.outputs / "table"
    best = {(choice.target, choice.arm): choice.learning_rate for choice in choices}
    return [
        Run(t, arm, n, seed, best[t, arm], root / t / slug(arm) / f"{n}_patients" / f"seed{seed}")
        for t, n, seed, arm in product(study.targets, study.num_patients, SEEDS, study.arms)
    ]


def compared(runs: Sequence[Run], target: str, n: int, arms: tuple[str, str]) -> Comparison:
    """The first arm against the second, over test patients, seeds averaged within a patient."""
    means = []
    for arm in arms:
        dice = [per_patient(r, "test") for r in runs if (r.target, r.num_patients, r.arm) == (target, n, arm)]
        means.append({patient: np.mean([each[patient] for each in dice]) for patient in dice[0]})
    return compare(*(np.array([each[patient] for patient in sorted(means[0])]) for each in means))


def summary(study: Study, choices: Sequence[Choice], runs: Sequence[Run]) -> dict:
    """Dice of every seed, each arm against new weights, each part's share; p by Wilcoxon, Holm over all tests."""
    pairs = [(f"{arm} - {NEW}", (arm, NEW)) for arm in study.arms if arm != NEW]
    pairs += [(f"share of: {part}", arms) for part, arms in PARTS.items() if {*arms} <= {*study.arms}]
    tests = [
        (target, n, name, compared(runs, target, n, arms))
        for target, n, (name, arms) in product(study.targets, study.num_patients, pairs)
    ]
    adjusted = holm([test.p for *_, test in tests])
    return {
        "val_dice": {f"{choice.target}, {choice.arm}": choice.val_dice for choice in choices},
        "chosen": {f"{choice.target}, {choice.arm}": choice.learning_rate for choice in choices},
        "test_dice": {
            f"{target}, {n} patients, {arm}": [
                mean_dice(run, "test") for run in runs if (run.target, run.num_patients, run.arm) == (target, n, arm)
            ]
            for target, n, arm in product(study.targets, study.num_patients, study.arms)
        },
        "differences": [
            {
                "target": target,
                "patients": n,
                "what": name,
                "difference": test.difference,
                "interval": [test.interval.low, test.interval.high],
                "p_holm": p,
            }
            for (target, n, name, test), p in zip(tests, adjusted, strict=True)
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no training is begun")
    parser.add_argument("--outputs", type=Path, default=Path("outputs/phantom_transfer"))
    parser.add_argument("--extra", nargs="*", default=[], help="settings of every training and evaluation")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--patients", nargs="+", type=int, choices=NUM_PATIENTS, default=NUM_PATIENTS)
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=tuple(ARMS))
    parser.add_argument("--rates", nargs="+", type=float, choices=LADDER, default=LEARNING_RATES, help="tried first")
    parser.add_argument("--base", type=Path, help="a trained network in place of the study's own")
    parser.add_argument("--results", default="results.json", help="file beside this one")
    options = parser.parse_args()
    study = Study(
        options.outputs.absolute(),
        options.processes,
        time.monotonic() + 60 * options.minutes,
        options.extra,
        options.targets,
        options.patients,
        options.arms,
        options.rates,
        options.base and options.base.absolute(),
    )
    if not run(study, HERE / options.results):
        sys.stderr.write("Time is up; the same command goes on.\n")


def run(study: Study, results: Path) -> bool:
    """Whether all is done, and the results are written."""
    study.outputs.mkdir(parents=True, exist_ok=True)
    make_data(study.outputs / "phantoms")
    if study.given_base is None:
        train_base(study)
    study.command("prepare", "phantom_transfer", f"task=[{','.join(f'transfer_{target}' for target in TARGETS)}]")
    choices = choose(study)
    if choices is None:
        return False
    runs = entries(study, choices)
    if not study.each(lambda s, each: score(s, each, "test"), runs):
        return False
    results.write_text(json.dumps(summary(study, choices, runs), indent=1) + "\n")
    return True


if __name__ == "__main__":
    main()
