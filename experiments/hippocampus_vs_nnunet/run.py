"""nnU-Net v2 and uniseg side by side on the hippocampus of the Decathlon: at equal steps, and at equal wall time.

    python experiments/hippocampus_vs_nnunet/run.py --data <hippocampus_msd> --nnunet-python <with nnunetv2> \
        --parts equal_steps

Val alone is scored until ``--open-test``. What is done stays done: started again it goes on, so that it can be had in
chunks.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from overlay import draw
from sides import NNUNET, TOOLS, UNISEG, Length, NnunetRun, Run, UnisegRun, prepare, score, train
from study import DATA, HERE, SPLIT_SEED, Study, TimeUpError, head

from uniseg.evaluation.records import read_scores
from uniseg.evaluation.verdict import dice_by_patient, mean_dice
from uniseg.files import write_json
from uniseg.metrics.paired import compare
from uniseg.run_folder import RunFolder

EQUAL_STEPS, EQUAL_TIME, TIME_PLANNED = "equal_steps", "equal_time", "time_planned"
SEEDS = (0, 1, 2)
LENGTH = Length(epochs=30, steps=20, val_steps=4)  # of a training at equal steps
MARGIN = 0.01  # of Dice
LEAST_DICE = 0.8  # on val, of both, for a verdict at equal steps
BAR = 0.85  # ours on test, after the first of MINUTES
MINUTES = (10, 30)
TRIAL = Length(epochs=3, steps=5, val_steps=1)  # 5 to 1, as 250 to 50 of both tools; the first epoch does not count
SMOKE_LENGTH, SMOKE_TRIAL, SMOKE_MINUTES = Length(2, 3, 1), Length(2, 2, 1), (1,)


def dice_of(folder: Path) -> dict[str, float]:
    """Of every head, mean over its crops and classes."""
    return dice_by_patient(read_scores(folder / "scores.csv"))


def majority_vote(run: Run, split: str) -> dict[str, float]:
    """Of every head, as uniseg's own evaluation of the run found it."""
    rows = read_scores(RunFolder(run.folder).evaluation(split).scores)
    by_head = {
        patient: [row.baseline_dice for row in rows if row.patient_id == patient] for patient in dice_by_patient(rows)
    }
    return {patient: float(np.mean(values)) for patient, values in by_head.items()}


def training(run: Run, tool: str, splits: Sequence[str]) -> dict:
    """What the record says of a training."""
    seconds = run.seconds()
    per_epoch = run.length.steps + run.length.val_steps / 3  # a validation step has no backward pass
    return {
        "tool": tool,
        "seed": run.seed,
        "steps": run.length.epochs * run.length.steps,
        "seconds": round(sum(seconds), 1),
        "seconds_per_step": round(float(np.median(seconds)) / per_epoch, 3),
        **{f"{split}_dice": float(np.mean([*dice_of(score(run, split)).values()])) for split in splits},
    }


def side_by_side(runs: Mapping[str, Sequence[Run]], split: str) -> dict:
    """Dice of every head, trainings averaged; uniseg less nnU-Net over the heads."""
    dice = {tool: mean_dice([dice_of(score(run, split)) for run in of_tool]) for tool, of_tool in runs.items()}
    votes = majority_vote(runs[UNISEG][0], split)
    heads = sorted(dice[UNISEG])
    if heads != sorted(dice[NNUNET]):
        raise ValueError("the two tools have other heads")
    ours, theirs = (np.array([dice[tool][name] for name in heads]) for tool in (UNISEG, NNUNET))
    found = compare(ours, theirs)
    return {
        "heads": heads,
        "dice": {UNISEG: ours.tolist(), NNUNET: theirs.tolist()},
        "mean_dice": {UNISEG: float(ours.mean()), NNUNET: float(theirs.mean())},
        "majority_vote": float(np.mean([votes[name] for name in heads])),
        "difference": found.difference,
        "interval": [found.interval.low, found.interval.high],
        "p": found.p,
        "heads_better_equal_worse": [found.wins, found.ties, found.losses],
        "margin": MARGIN,
        "non_inferior": found.non_inferior(MARGIN),
    }


def picture(study: Study, runs: Mapping[str, Sequence[Run]], split: str, name: str) -> None:
    """The median and the worst head by uniseg's Dice of the first training; beside the runs, scans stay out of here."""
    dice = dice_of(score(runs[UNISEG][0], split))
    order = sorted(dice, key=dice.__getitem__)
    shown = {"median": order[len(order) // 2], "worst": order[0]}
    predictions = {UNISEG: RunFolder(runs[UNISEG][0].folder).evaluation(split).predictions / "hippocampus"}
    predictions[NNUNET] = runs[NNUNET][0].folder / "predictions" / split
    crops = {
        title: next(case_id for case_id in study.splits[split] if head(case_id) == int(patient.rpartition("/")[2]))
        for title, patient in shown.items()
    }
    draw(study, crops, predictions, study.outputs / f"{name}_{split}.png")


def verdict(found: Mapping) -> str:
    """Of part (a); a network that has hardly learnt is no measure of a tool."""
    if min(found["val"]["mean_dice"].values()) < LEAST_DICE:
        return f"none: below {LEAST_DICE} on val"
    return "non-inferior" if found["test"]["non_inferior"] else "non-inferiority not shown"


def equal_steps(study: Study, splits: Sequence[str]) -> dict:
    """Part (a): the same network, batch, patch, optimiser, schedule and number of steps; a core per training."""
    length, seeds = (SMOKE_LENGTH, SEEDS[:1]) if study.smoke else (LENGTH, SEEDS)
    root = study.outputs / EQUAL_STEPS / f"{length.epochs}_epochs"
    prepare(study, length, tuple(TOOLS), small=True)
    runs = {
        tool: [TOOLS[tool](study, root / f"{tool}_seed{seed}", length, seed, True) for seed in seeds] for tool in TOOLS
    }
    jobs = [runs[tool][number] for number, tool in product(range(len(seeds)), TOOLS)]
    Parallel(study.processes, prefer="threads")(delayed(train)(run) for run in jobs)
    found = {
        "network": {tool: runs[tool][0].network() for tool in runs},
        "trainings": [training(run, tool, splits) for tool, of_tool in runs.items() for run in of_tool],
        **{split: side_by_side(runs, split) for split in splits},
    }
    if "test" in splits:
        found["verdict"] = verdict(found)
    for split in splits:
        picture(study, runs, split, EQUAL_STEPS)
    return found


def fitted(study: Study, tool: str, minutes: float) -> Length:
    """As many epochs as ``minutes`` hold, by the seconds of an epoch in a short trial on the same machine."""
    length = SMOKE_TRIAL if study.smoke else TRIAL
    trial = TOOLS[tool](study, study.outputs / EQUAL_TIME / f"trial_{tool}", length, 0, False)
    study.once(trial.folder, "train", trial.train)
    epochs = int(60 * minutes / np.mean(trial.seconds()[1:]))
    return Length(max(1, epochs), length.steps, length.val_steps)


def equal_time(study: Study, splits: Sequence[str]) -> dict:
    """Part (b): the plan of either tool, as it is, for the same minutes; one training after the other, on all cores."""
    prepare(study, TRIAL, tuple(TOOLS), small=False)
    found: dict = {"bar": {"test_dice": BAR, "minutes": MINUTES[0]}}
    for minutes in study.minutes:
        runs = {
            tool: [
                TOOLS[tool](
                    study, study.outputs / EQUAL_TIME / f"{tool}_{minutes}", fitted(study, tool, minutes), 0, False
                )
            ]
            for tool in TOOLS
        }
        for (run,) in runs.values():
            train(run)
        found[f"{minutes} minutes"] = {
            "network": {tool: run.network() for tool, (run,) in runs.items()},
            "trainings": [training(run, tool, splits) for tool, (run,) in runs.items()],
            **{split: side_by_side(runs, split) for split in splits},
        }
        for split in splits:
            picture(study, runs, split, f"{EQUAL_TIME}_{minutes}")
    return found


def time_planned(study: Study, splits: Sequence[str]) -> dict:
    """Part (c): a plan that was told the minutes (``budget=10min``), beside nnU-Net's training of part (b)."""
    found = {}
    for minutes in study.minutes:
        root = study.outputs / EQUAL_TIME
        ours = UnisegRun(study, root / f"planned_{minutes}", TRIAL, 0, False, budget=f"{minutes}min").planned()
        length = fitted(study, NNUNET, minutes)
        runs = {
            UNISEG: [train(ours)],
            NNUNET: [train(NnunetRun(study, root / f"{NNUNET}_{minutes}", length, 0, False))],
        }
        found[f"{minutes} minutes"] = {
            "network": ours.network(),
            "training": training(ours, UNISEG, splits),
            **{split: side_by_side(runs, split) for split in splits},
        }
        for split in splits:
            picture(study, runs, split, f"{TIME_PLANNED}_{minutes}")
    return found


PARTS = {EQUAL_STEPS: equal_steps, EQUAL_TIME: equal_time, TIME_PLANNED: time_planned}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data") / DATA, help="the folder of the set")
    parser.add_argument("--nnunet-python", required=True, help="an interpreter that has nnunetv2")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--processes", type=int, default=2, help="trainings at a time, a core each, at equal steps")
    parser.add_argument("--lengths", nargs="+", type=int, default=MINUTES, help="minutes of a training at equal time")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which nothing is begun")
    parser.add_argument("--open-test", action="store_true", help="score the test heads too; once, when val is settled")
    parser.add_argument(
        "--smoke", action="store_true", help="a few steps, narrow networks; ten training heads play all parts"
    )
    parser.add_argument("--outputs", type=Path, default=Path("outputs/hippocampus_vs_nnunet"))
    options = parser.parse_args()
    outputs = options.outputs.absolute() / ("smoke" if options.smoke else "full")
    outputs.mkdir(parents=True, exist_ok=True)
    study = Study(
        outputs,
        options.data.absolute(),
        options.nnunet_python,
        options.processes,
        time.monotonic() + 60 * options.minutes,
        options.smoke,
        SMOKE_MINUTES if options.smoke else options.lengths,
    )
    path = (outputs if options.smoke else HERE) / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results |= {"split_seed": SPLIT_SEED, "splits": study.splits}
    splits = ("val", "test") if options.open_test else ("val",)
    try:
        for part in options.parts:
            results[part] = PARTS[part](study, splits)
            write_json(path, results)
    except TimeUpError:
        sys.exit("Time is up; the same command goes on.")


if __name__ == "__main__":
    main()
