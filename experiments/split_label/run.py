"""The prompt on trial: two tasks on scans of one kind, whose full truth is known.

    UNISEG_DATA=<folder of hippocampus_msd> python experiments/split_label/run.py --minutes 100

Half of the training heads are labelled anterior only, the other half posterior only. Every step is a command of uniseg.
What is done stays done: started again it goes on.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from arms import ARMS, HALF, LEARNED, ORACLE, PARTS, SINGLE
from joblib import Parallel, delayed

from uniseg.commands.app import run as run_command
from uniseg.evaluation.health import NetworkHealth
from uniseg.evaluation.records import read_scores
from uniseg.images.files import read_label
from uniseg.metrics.dice import dice
from uniseg.metrics.paired import compare, holm
from uniseg.metrics.training_luck import luck_of_trainings, with_luck
from uniseg.run_folder import RunFolder

HERE = Path(__file__).parent
NUM_TRAIN, NUM_VAL, SPLIT_SEED = 40, 12, 2026  # heads of each task, of val; what remains is test
NUM_HEADS = (20, 5, 40)
EPOCHS = 3
SEEDS, CHOICE_SEED, CHOICE_HEADS = (0, 1, 2), 3, 20
LADDER = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
FIRST_RATES = (0.003, 0.01, 0.03)  # of several, while the best is an edge, the next of the ladder is tried too


@dataclass(frozen=True)
class Place:
    """Where the study runs, and how long at most."""

    outputs: Path
    end: float
    steps: int

    def split_file(self, part: str, num_heads: int) -> Path:
        return self.outputs / f"splits/{num_heads}_heads_{part}.json"

    def in_time(self, work: Callable, *arguments: object) -> bool:
        """Whether it was done."""
        return time.monotonic() < self.end and (work(self, *arguments) or True)


@dataclass(frozen=True)
class Run:
    """One network."""

    arm: str
    parts: tuple[str, ...]
    num_heads: int
    seed: int
    learning_rate: float

    def folder(self, place: Place) -> Path:
        arm = re.sub("[^a-z]+", "_", self.arm.lower())
        name = "_".join([*self.parts, f"seed{self.seed}"])
        return place.outputs / f"{place.steps}_steps/{self.num_heads}_heads" / arm / f"lr{self.learning_rate}" / name

    def words(self, place: Place) -> list[str]:
        """What every command of this network is given."""
        tasks = [f"hippocampus_{part}" for part in self.parts]
        splits = [
            f"tasks.hippocampus_{part}.source.splits={place.split_file(part, self.num_heads)}" for part in self.parts
        ]
        cache = place.outputs / f"caches/{self.num_heads}_heads_{'_'.join(self.parts)}"
        return ["experiment=split_label", f"task=[{','.join(tasks)}]", *splits, f"paths.cache={cache}"]

    def train(self, place: Place) -> None:
        folder, arm = self.folder(place), ARMS[self.arm]
        if (folder / "done").exists():
            return
        steps = round(place.steps * arm.fraction / EPOCHS)
        length = [f"data.steps_per_epoch={steps}", f"trainer.max_epochs={EPOCHS}"]
        chosen = [f"optimizer.lr={self.learning_rate}", f"seed={self.seed}", f"run_dir={folder}", "ckpt_path=last"]
        command("prepare", *self.words(place), "num_workers=1")
        command("train", *self.words(place), *arm.overrides, *length, *chosen)
        (folder / "done").touch()

    def evaluate(self, place: Place, split: str) -> None:
        self.train(place)
        folder = self.folder(place)
        if not RunFolder(folder).evaluation(split).metrics.exists():
            command("evaluate", *self.words(place), f"run_dir={folder}", f"split={split}", "rules.surfaces=false")

    def image_share(self, place: Place) -> float:
        """Of the task prompts' variance, what comes from the image, after the last epoch; NaN without task prompts."""
        return NetworkHealth.load(RunFolder(self.folder(place)).health).last_image_share


def command(name: str, *overrides: str) -> None:
    """A command of uniseg, in this process, on one thread."""
    torch.set_num_threads(1)
    os.chdir(HERE)  # where the experiment's own conf lies
    result = run_command([name, *overrides])
    if result.code:
        raise RuntimeError(f"{name} ended with {result.code}: {result.line}")


def write_splits(place: Place, data: Path) -> None:
    """By heads: two crops may be the two sides of one."""
    crops: dict[int, list[str]] = {}
    for path in sorted((data / "labelsTr").glob("hippocampus_*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        crops.setdefault((int(name.rpartition("_")[2]) + 1) // 2, []).append(name)
    heads = np.random.default_rng(SPLIT_SEED).permutation(sorted(crops)).tolist()
    groups = {part: heads[index * NUM_TRAIN : (index + 1) * NUM_TRAIN] for index, part in enumerate(PARTS)}
    rest = heads[2 * NUM_TRAIN :]
    fixed = {"val": rest[:NUM_VAL], "test": rest[NUM_VAL:]}
    for number in NUM_HEADS:
        train = {part: groups[part][:number] for part in PARTS}
        train["whole"] = train["anterior"] + train["posterior"]
        for part, listed in train.items():
            names = {
                split: [crop for head in some for crop in crops[head]]
                for split, some in ({"train": listed} | fixed).items()
            }
            path = place.split_file(part, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(names))


def runs_of(arm: str, num_heads: int, seed: int, learning_rate: float) -> list[Run]:
    return [Run(arm, parts, num_heads, seed, learning_rate) for parts in ARMS[arm].networks]


def dice_by_patient(place: Place, runs: Iterable[Run], split: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Class -> Dice of every head ``[P]``, of the network and of the majority vote; a head's crops are averaged."""
    listed = [row for run in runs for row in read_scores(RunFolder(run.folder(place)).evaluation(split).scores)]
    heads = sorted({row.patient_id for row in listed})
    found = {}
    for part in PARTS:
        rows = {head: [row for row in listed if (row.patient_id, row.class_name) == (head, part)] for head in heads}
        found[part] = tuple(
            np.array([np.mean([getattr(row, name) for row in rows[head]]) for head in heads])
            for name in ("dice", "baseline_dice")
        )
    return found


def val_dice(place: Place, arm: str, rate: float) -> float:
    found = dice_by_patient(place, runs_of(arm, CHOICE_HEADS, CHOICE_SEED, rate), "val")
    return float(np.mean([values for values, _ in found.values()]))


def choose_rates(place: Place, parallel: Parallel, arms: Sequence[str], rates: Sequence[float]) -> dict | None:
    """Arm -> rate -> val Dice, best first; None: time is up. One rate: it is taken as given."""
    if len(rates) == 1:
        return {arm: {rates[0]: None} for arm in arms}
    tried = {arm: [*rates] for arm in arms}
    while True:
        wanted = [run for arm in arms for rate in tried[arm] for run in runs_of(arm, CHOICE_HEADS, CHOICE_SEED, rate)]
        if not all(parallel(delayed(place.in_time)(partial(evaluate, split="val"), run) for run in wanted)):
            return None
        found = {arm: {rate: val_dice(place, arm, rate) for rate in tried[arm]} for arm in arms}
        wider = {arm: sorted({*tried[arm], *beyond_edge(found[arm])}) for arm in arms}
        if wider == tried:
            return {arm: dict(sorted(values.items(), key=lambda item: -item[1])) for arm, values in found.items()}
        tried = wider


def beyond_edge(found: dict[float, float]) -> list[float]:
    """The next rate of the ladder, where the best is an edge of those tried."""
    best = max(found, key=found.__getitem__)
    place = LADDER.index(best)
    at_edge = [(min(found), place - 1), (max(found), place + 1)]
    return [LADDER[index] for edge, index in at_edge if best == edge and 0 <= index < len(LADDER)]


def evaluate(place: Place, run: Run, split: str) -> None:
    run.evaluate(place, split)


def swapped_dice(place: Place, run: Run, data: Path) -> dict[str, float]:
    """Asked for one part: mean Dice against the truth of either; test heads, one network of both tasks."""
    found: dict[str, list[float]] = {}
    for asked in PARTS:
        predictions = RunFolder(run.folder(place)).evaluation("test").predictions
        for path in sorted(predictions.glob(f"hippocampus_{asked}/*.nii.gz")):
            predicted = read_label(path, [path]) == 1
            truth = read_label(data / "labelsTr" / path.name, [path])
            for value, part in enumerate(PARTS, start=1):
                hits = int((predicted & (truth == value)).sum())
                score = dice(hits, int(predicted.sum()) - hits, int((truth == value).sum()) - hits)
                found.setdefault(f"asked {asked}, truth {part}", []).append(float(score))
    return {name: float(np.mean(values)) for name, values in found.items()}


def recovered(single: np.ndarray, arm: np.ndarray, oracle: np.ndarray) -> dict:
    """Part of the gap between single and oracle that an arm closes, of means over heads; 95 % by bootstrap of heads.

    None: the gap's own interval holds 0, so that there is nothing to divide by.
    """
    gap = compare(oracle, single)
    picks = np.random.default_rng(0).integers(len(single), size=(2000, len(single)))
    if gap.interval.low <= 0:
        return {"gap": gap.difference, "part": None}
    parts = (arm[picks].mean(1) - single[picks].mean(1)) / (oracle[picks].mean(1) - single[picks].mean(1))
    part = (arm.mean() - single.mean()) / (oracle.mean() - single.mean())
    return {"gap": gap.difference, "part": float(part), "interval": np.percentile(parts, [2.5, 97.5]).tolist()}


def summary(place: Place, number: int, choices: dict[str, dict[float, float]], data: Path) -> dict:
    """Of one number of labelled heads: seeds are averaged within a head before any test."""
    per_seed, votes = {}, {}
    for arm, rates in choices.items():
        found = [dice_by_patient(place, runs_of(arm, number, seed, next(iter(rates))), "test") for seed in SEEDS]
        per_seed[arm] = np.array([[each[part][0] for part in PARTS] for each in found])  # [seeds, parts, heads]
        votes[arm] = float(np.mean([each[part][1] for each in found for part in PARTS]))
    dice_of = {arm: values.mean((0, 1)) for arm, values in per_seed.items()}
    by_seed = {arm: values.mean((1, 2)) for arm, values in per_seed.items()}
    tests = {arm: compare(values, dice_of[SINGLE]) for arm, values in dice_of.items() if arm != SINGLE}
    to_learned = {arm: compare(values, dice_of[LEARNED]) for arm, values in dice_of.items() if arm != LEARNED}
    adjusted = holm([test.p for test in (*tests.values(), *to_learned.values())])
    shared = [arm for arm in choices if ARMS[arm].networks == (PARTS,)]
    first = {arm: Run(arm, PARTS, number, SEEDS[0], next(iter(choices[arm]))) for arm in shared}
    return {
        "test_dice": {
            arm: {
                "mean": float(dice_of[arm].mean()),
                "by_seed": by_seed[arm].tolist(),
                "by_part": dict(zip(PARTS, values.mean((0, 2)).tolist(), strict=True)),
            }
            for arm, values in per_seed.items()
        },
        "majority_vote": votes[SINGLE],
        "against_single": {arm: asdict(test) for arm, test in tests.items()},
        f"against {LEARNED}": {arm: asdict(test) for arm, test in to_learned.items()},
        f"against {LEARNED}, with the luck of trainings": {
            arm: asdict(with_luck(test.interval, test.difference, luck_of_trainings(by_seed[arm] - by_seed[LEARNED])))
            for arm, test in to_learned.items()
        },
        "holm": adjusted,
        "recovered": {
            f"from {base}": {arm: recovered(dice_of[base], dice_of[arm], dice_of[ORACLE]) for arm in shared}
            for base in (SINGLE, HALF)
        },
        "swapped": {arm: swapped_dice(place, run, data) for arm, run in first.items()},
        "image_share": {
            arm: [Run(arm, PARTS, number, seed, run.learning_rate).image_share(place) for seed in SEEDS]
            for arm, run in first.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no training is begun")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--outputs", type=Path, default=Path("outputs/split_label"))
    parser.add_argument("--steps", type=int, default=300, help="of a network; divides by 6")
    parser.add_argument("--heads", nargs="+", type=int, choices=NUM_HEADS, default=NUM_HEADS)
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=tuple(ARMS))
    parser.add_argument("--rates", nargs="+", type=float, choices=LADDER, default=FIRST_RATES, help="tried first")
    parser.add_argument("--results", default="results.json", help="file beside this one")
    options = parser.parse_args()
    place = Place(options.outputs.absolute(), time.monotonic() + 60 * options.minutes, options.steps)
    os.environ["UNISEG_DATA"] = str(Path(os.environ.get("UNISEG_DATA", "data")).absolute())
    data = Path(os.environ["UNISEG_DATA"]) / "hippocampus_msd"
    write_splits(place, data)
    parallel = Parallel(n_jobs=options.processes)
    choices = choose_rates(place, parallel, options.arms, options.rates)
    content = {"steps": options.steps, "val_dice_by_rate": choices, "heads": {}}
    for number in options.heads if choices else ():
        runs = [
            run
            for seed, (arm, rates) in product(SEEDS, choices.items())
            for run in runs_of(arm, number, seed, next(iter(rates)))
        ]
        if all(parallel(delayed(place.in_time)(partial(evaluate, split="test"), run) for run in runs)):
            content["heads"][number] = summary(place, number, choices, data)
            (HERE / options.results).write_text(json.dumps(content, indent=1) + "\n")
    if len(content["heads"]) < len(options.heads):
        sys.exit("Time is up; the same command goes on.")


if __name__ == "__main__":
    main()
