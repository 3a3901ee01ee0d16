"""Fine-tuning on real scans: one organ from one to three patients, from a base that knows other patients' organs.

    UNISEG_DATA=<folder of chaos_t2_abdomen, acdc_heart> python experiments/real_transfer/run.py --minutes 60

The patients of a set in two halves: each half is the target of a base trained on the other. What is done stays done:
started again it goes on.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from uniseg.commands.app import run as run_command
from uniseg.evaluation.records import read_scores
from uniseg.evaluation.verdict import dice_by_patient
from uniseg.metrics.paired import compare
from uniseg.run_folder import RunFolder

HERE = Path(__file__).parent
NEW, BASE = "new weights", "base, recipe"
ARMS = {
    NEW: [],
    "new weights, double steps": ["trainer.max_epochs=2"],
    "base, as it is": ["init=checkpoint", "init.checkpoint={base}"],
    BASE: ["init=checkpoint", "init.checkpoint={base}", "finetune=recipe"],
}
LADDER = (0.0003, 0.001, 0.003, 0.01, 0.03)
FIRST_RATES = (0.001, 0.003, 0.01)  # of several, while the best is an edge, the next of the ladder is tried too
CHOICE_ROTATIONS = (0, 2)


class TimeUpError(Exception):
    """No training is begun any more."""


@dataclass(frozen=True)
class Pair:
    """A set whose patients are halved, with the experiment of its base and of its target, and their one task each."""

    halves: tuple[tuple[str, ...], tuple[str, ...]]
    base: tuple[str, str]
    target: tuple[str, str]

    @property
    def rotations(self) -> range:
        return range(len(self.halves[0]))


PAIRS = {
    "chaos": Pair(
        (
            ("chaos_01", "chaos_02", "chaos_03", "chaos_05", "chaos_08"),
            ("chaos_10", "chaos_13", "chaos_15", "chaos_19", "chaos_20"),
        ),
        ("real_transfer_base", "chaos_organs"),
        ("real_transfer", "chaos_spleen"),
    ),
    "acdc": Pair(
        (
            ("patient001", "patient002", "patient007", "patient008"),
            ("patient011", "patient013", "patient019", "patient022"),
        ),
        ("real_transfer_acdc_base", "acdc_left"),
        ("real_transfer_acdc", "acdc_right"),
    ),
}


@dataclass(frozen=True)
class Study:
    """Of which scans, where it runs, how long at most, from how many patients of the target."""

    pair: Pair
    outputs: Path
    end: float
    num_patients: int
    rates: Sequence[float]
    rotations: Sequence[int]

    @property
    def root(self) -> Path:
        """Of the trainings on the target."""
        return self.outputs / f"{self.num_patients}_patients"

    def command(self, name: str, *overrides: str) -> None:
        """A command of uniseg, in this process."""
        result = run_command([name, f"paths.outputs={self.outputs}", *overrides])
        if result.code:
            raise SystemExit(result.code)

    def base(self, half: int) -> Path:
        """Of the other half's organs: its last patient for val, the others for training."""
        folder = self.outputs / f"base_for_half{half}"
        if not (folder / "done").exists():
            *train, val = self.pair.halves[1 - half]
            experiment, task = self.pair.base
            splits = f"tasks.{task}.source.splits={split_text(train, [val], [])}"
            common = [f"experiment={experiment}", splits, f"paths.cache={folder / 'cache'}"]
            self.command("prepare", *common)
            self.command("train", *common, f"run_dir={folder}", "ckpt_path=last")
            (folder / "done").touch()
        return RunFolder(folder).checkpoint


@dataclass(frozen=True)
class Run:
    """One training on the patients of a half from place ``rotation`` on; the next one is val, the others are test."""

    arm: str
    half: int
    rotation: int
    learning_rate: float

    def folder(self, root: Path) -> Path:
        """Below the folder of all trainings of as many patients."""
        arm = self.arm.replace(", ", "-").replace(" ", "_")
        return root / arm / f"lr{self.learning_rate}" / f"half{self.half}_rotation{self.rotation}"

    def common(self, study: Study) -> list[str]:
        patients = study.pair.halves[self.half]
        experiment, task = study.pair.target
        turned = patients[self.rotation :] + patients[: self.rotation]
        n = study.num_patients
        splits = split_text(turned[:n], turned[n : n + 1], turned[n + 1 :])
        cache = study.outputs / "caches" / f"{n}_patients_half{self.half}_rotation{self.rotation}"
        return [f"experiment={experiment}", f"tasks.{task}.source.splits={splits}", f"paths.cache={cache}"]

    def train(self, study: Study) -> None:
        folder = self.folder(study.root)
        if (folder / "done").exists():
            return
        if time.monotonic() > study.end:
            raise TimeUpError
        study.command("prepare", *self.common(study))
        overrides = [each.format(base=study.base(self.half)) for each in ARMS[self.arm]]
        rate = f"optimizer.lr={self.learning_rate}"
        seed = f"seed={self.rotation}"
        study.command("train", *self.common(study), *overrides, rate, seed, f"run_dir={folder}", "ckpt_path=last")
        (folder / "done").touch()

    def scores(self, study: Study, split: str) -> dict[str, tuple[float, float]]:
        """Dice by patient, of the network and of the majority vote."""
        self.train(study)
        scores = RunFolder(self.folder(study.root)).evaluation(split).scores
        if not scores.exists():
            where = [f"run_dir={self.folder(study.root)}", f"split={split}", "rules.surfaces=false"]
            study.command("evaluate", *self.common(study), *where)
        rows = read_scores(scores)
        votes = {row.patient_id: row.baseline_dice for row in rows}
        return {patient: (dice, votes[patient]) for patient, dice in dice_by_patient(rows).items()}


def split_text(train: Sequence[str], val: Sequence[str], test: Sequence[str]) -> str:
    return "{" + ",".join(f"{k}:[{','.join(v)}]" for k, v in (("train", train), ("val", val), ("test", test))) + "}"


def val_dice(study: Study, arm: str, rate: float) -> float:
    """Mean over the val patients of two rotations of each half."""
    runs = [Run(arm, half, rotation, rate) for half, rotation in product((0, 1), CHOICE_ROTATIONS)]
    return float(np.mean([dice for run in runs for dice, _ in run.scores(study, "val").values()]))


def choose_rate(study: Study, arm: str) -> dict[float, float]:
    """Learning rate -> val Dice, best first."""
    rates = list(study.rates)
    while True:
        found = {rate: val_dice(study, arm, rate) for rate in rates}
        best = LADDER.index(max(found, key=found.__getitem__))
        low, high = LADDER.index(rates[0]), LADDER.index(rates[-1])
        wider = list(LADDER[max(0, low - (best == low)) : high + 1 + (best == high)])
        if wider == rates:
            return dict(sorted(found.items(), key=lambda item: -item[1]))
        rates = wider


def test_dice(study: Study, arm: str, rate: float) -> dict[str, tuple[float, float]]:
    """Of every patient, mean over the networks that had it for test: of the network, of the majority vote."""
    found = defaultdict(list)
    for half, rotation in product((0, 1), study.rotations):
        for patient, both in Run(arm, half, rotation, rate).scores(study, "test").items():
            found[patient].append(both)
    return {patient: tuple(map(float, np.mean(values, 0))) for patient, values in sorted(found.items())}


def summary(study: Study, arms: Sequence[str]) -> dict:
    one = len(study.rates) == 1
    chosen = {arm: {study.rates[0]: None} if one else choose_rate(study, arm) for arm in arms}
    tested = {arm: test_dice(study, arm, next(iter(rates))) for arm, rates in chosen.items()}
    patients = sorted(tested[NEW])
    dice = {arm: np.array([tested[arm][patient][0] for patient in patients]) for arm in arms}
    differences = {}
    for arm in arms:
        if arm != NEW:
            test = compare(dice[arm], dice[NEW])
            interval = [test.interval.low, test.interval.high]
            differences[f"{arm} - {NEW}"] = {"difference": test.difference, "interval": interval, "p": test.p}
    return {
        "rotations": [*study.rotations],
        "val_dice_by_rate": chosen,
        "patients": patients,
        "test_dice": {arm: values.tolist() for arm, values in dice.items()},
        "mean_test_dice": {arm: float(values.mean()) for arm, values in dice.items()},
        "majority_vote": float(np.mean([tested[NEW][patient][1] for patient in patients])),
        "differences": differences,
    }


def over_all_pairs(tables: Sequence[dict]) -> dict:
    """The recipe minus new weights; of a patient the mean over the numbers of patients for training."""
    found = defaultdict(list)
    for each in tables:
        if {BASE, NEW} <= {*each["test_dice"]}:
            for patient, base, new in zip(
                each["patients"], each["test_dice"][BASE], each["test_dice"][NEW], strict=True
            ):
                found[patient].append(base - new)
    test = compare(np.array([np.mean(values) for values in found.values()]), np.zeros(len(found)))
    interval = [test.interval.low, test.interval.high]
    return {"difference": test.difference, "interval": interval, "p": test.p, "wins": test.wins, "losses": test.losses}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", choices=tuple(PAIRS), default="chaos")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no training is begun")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs/real_transfer"), help="with a folder for each pair"
    )
    parser.add_argument("--patients", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--rates", nargs="+", type=float, default=FIRST_RATES, help="one: it is taken as given")
    parser.add_argument("--rotations", nargs="+", type=int, help="default: all")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=tuple(ARMS))
    options = parser.parse_args()
    pair = PAIRS[options.pair]
    if options.patients + 2 > len(pair.halves[0]):
        parser.error(f"--patients {options.patients}: a half has {len(pair.halves[0])}, one is for val, one for test")
    if not {*(options.rotations or ())} <= {*pair.rotations}:
        parser.error(f"--rotations: a half has {len(pair.rotations)}, counted from 0")
    study = Study(
        pair,
        options.outputs.absolute() / options.pair,
        time.monotonic() + 60 * options.minutes,
        options.patients,
        options.rates,
        options.rotations or pair.rotations,
    )
    os.environ["UNISEG_DATA"] = str(Path(os.environ.get("UNISEG_DATA", "data")).absolute())
    os.chdir(HERE)  # where the experiment's own conf lies
    try:
        content = summary(study, options.arms)
    except TimeUpError:
        sys.exit("Time is up; the same command goes on.")
    results = HERE / "results.json"
    before = json.loads(results.read_text())["tables"] if results.exists() else {}
    tables = dict(sorted((before | {f"{options.pair}/{options.patients}_patients": content}).items()))
    everything = {"over_all_pairs": over_all_pairs([*tables.values()]), "tables": tables}
    results.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
