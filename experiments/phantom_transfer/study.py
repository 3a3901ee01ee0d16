"""The trainings of the study: its data, its arms, its runs, the choice of learning rates."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from uniseg.evaluation.records import read_scores
from uniseg.evaluation.verdict import dice_by_patient
from uniseg.phantom.suite import DATASETS, write_case
from uniseg.run_folder import RunFolder

HERE = Path(__file__).parent
PATIENTS_SEED, NUM_CASES = 13, 44  # of nobody in the suite that the base learns from
TARGETS = ("stomach", "colon")
SEEDS, CHOICE_SEEDS = (0, 1, 2), (3, 4)
NUM_PATIENTS, CHOICE_PATIENTS = (1, 2, 5, 16), 2
LEARNING_RATES = (0.001, 0.003, 0.01)  # tried first; while the best is an edge, the next of the ladder too
LADDER = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
BASE = ["init=checkpoint", "init.checkpoint={base}"]
# Arm -> what it changes of new weights at equal steps.
ARMS: dict[str, list[str]] = {
    "new weights": [],
    "new weights, double steps": ["trainer.max_epochs=4"],
    "base": BASE,
    "base, norms restored": [*BASE, "finetune.restore_norms=true"],
    "base, sawtooth": [*BASE, "finetune.schedule=sawtooth"],
    "base, norms restored, sawtooth": [*BASE, "finetune=recipe"],
}
NEW, BOTH = "new weights", "base, norms restored, sawtooth"


@dataclass(frozen=True)
class Study:
    """Where it runs, how long at most, with what in every command; which part of the whole is done.

    Attributes:
        learning_rates: of ``LADDER``, tried first.
        given_base: a trained network in place of the study's own.
    """

    outputs: Path
    processes: int
    end: float
    extra: list[str] = field(default_factory=list)
    targets: Sequence[str] = TARGETS
    num_patients: Sequence[int] = NUM_PATIENTS
    arms: Sequence[str] = tuple(ARMS)
    learning_rates: Sequence[float] = LEARNING_RATES
    given_base: Path | None = None

    @property
    def base(self) -> Path:
        return self.given_base or RunFolder(self.outputs / "base").checkpoint

    def command(self, name: str, experiment: str, *overrides: str) -> None:
        """A command of uniseg, started beside the experiment's own ``conf``; what it tells goes to a log."""
        folders = [f"paths.{key}={self.outputs / key}" for key in ("cache", "phantoms")]
        words = [sys.executable, "-m", f"uniseg.{name}", f"experiment={experiment}", f"paths.outputs={self.outputs}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (self.outputs / "log.txt").open("a") as log:
            everything = [*words, *folders, *overrides, *([] if name == "prepare" else self.extra)]
            subprocess.run(everything, cwd=HERE, env=environment, stdout=log, stderr=log, check=True)

    def each(self, work: Callable, runs: Sequence["Run"]) -> bool:
        """``work`` of every run, as long as there is time; whether all are done."""

        def in_time(each: "Run") -> bool:
            return time.monotonic() < self.end and (work(self, each) or True)

        return all(Parallel(n_jobs=self.processes, backend="threading")(delayed(in_time)(each) for each in runs))


@dataclass(frozen=True)
class Run:
    """One training; its seed draws the patients too."""

    target: str
    arm: str
    num_patients: int
    seed: int
    learning_rate: float
    folder: Path

    def overrides(self, base: Path) -> list[str]:
        return [
            f"task=[transfer_{self.target}]",
            *(each.format(base=base) for each in ARMS[self.arm]),
            f"data.num_patients={self.num_patients}",
            f"seed={self.seed}",
            f"optimizer.lr={self.learning_rate}",
            f"run_dir={self.folder}",
        ]


def slug(arm: str) -> str:
    """A folder's name."""
    return arm.replace(", ", "-").replace(" ", "_")


def make_data(root: Path) -> None:
    """CTs of new patients for both targets."""
    for target in TARGETS:
        index = next(i for i, task in enumerate(DATASETS) if task.name == target)
        folder = root / DATASETS[index].dataset
        if (folder / "dataset.json").exists():
            continue
        for part in (folder / "imagesTr", folder / "labelsTr", root / "truth"):
            part.mkdir(parents=True, exist_ok=True)
        Parallel(n_jobs=2)(delayed(write_case)(root, PATIENTS_SEED, index, case, False) for case in range(NUM_CASES))
        labels = {name: value for value, name in enumerate(DATASETS[index].classes)}
        content = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": NUM_CASES, "file_ending": ".nii.gz"}
        (folder / "dataset.json").write_text(json.dumps(content))


def train_base(study: Study) -> None:
    """To a plateau: the README says by what it is seen."""
    done = study.outputs / "base/done"
    if not done.exists():
        suite = f"paths.phantoms={study.outputs / 'suite'}"
        study.command("prepare", "phantom_transfer_base", suite)
        run = [suite, f"run_dir={study.outputs / 'base'}"]
        study.command("train", "phantom_transfer_base", *run, "ckpt_path=last")
        study.command("evaluate", "phantom_transfer_base", *run)
        done.touch()


def train(study: Study, run: Run) -> None:
    if not (run.folder / "done").exists():
        run.folder.mkdir(parents=True, exist_ok=True)
        study.command("train", "phantom_transfer", *run.overrides(study.base), "ckpt_path=last")
        (run.folder / "done").touch()


def score(study: Study, run: Run, split: str) -> None:
    train(study, run)
    if not RunFolder(run.folder).evaluation(split).metrics.exists():
        where = [f"task=[transfer_{run.target}]", f"run_dir={run.folder}", f"split={split}", "rules.surfaces=false"]
        study.command("evaluate", "phantom_transfer", *where)


def per_patient(run: Run, split: str) -> dict[str, float]:
    return dice_by_patient(read_scores(RunFolder(run.folder).evaluation(split).scores))


def mean_dice(run: Run, split: str) -> float:
    return float(np.mean(list(per_patient(run, split).values())))


@dataclass(frozen=True)
class Choice:
    """Of one arm's learning rate on one target, by whole val scans: rate -> the trainings with it, one a seed."""

    target: str
    arm: str
    runs: dict[float, list[Run]]

    @classmethod
    def of(cls, study: Study, target: str, arm: str, rates: Sequence[float]) -> "Choice":
        root = study.outputs / "choice" / target / slug(arm)
        return cls(
            target,
            arm,
            {
                lr: [
                    Run(target, arm, CHOICE_PATIENTS, seed, lr, root / f"lr{lr}" / f"seed{seed}")
                    for seed in CHOICE_SEEDS
                ]
                for lr in rates
            },
        )

    @property
    def val_dice(self) -> dict[float, float]:
        return {lr: float(np.mean([mean_dice(run, "val") for run in runs])) for lr, runs in self.runs.items()}

    @property
    def learning_rate(self) -> float:
        return max(self.val_dice, key=self.val_dice.__getitem__)

    @property
    def wider(self) -> list[float]:
        """The rates, with the next of the ladder where the best one is an edge of them."""
        low, high = LADDER.index(min(self.runs)), LADDER.index(max(self.runs))
        best = LADDER.index(self.learning_rate)
        return list(LADDER[max(0, low - (best == low)) : high + 1 + (best == high)])


def choose(study: Study) -> list[Choice] | None:
    """None: time is up."""
    choices = [Choice.of(study, *which, study.learning_rates) for which in product(study.targets, study.arms)]
    while True:
        runs = [run for choice in choices for each in choice.runs.values() for run in each]
        if not study.each(lambda s, run: score(s, run, "val"), runs):
            return None
        wider = [Choice.of(study, choice.target, choice.arm, choice.wider) for choice in choices]
        if [[*choice.runs] for choice in wider] == [[*choice.runs] for choice in choices]:
            return choices
        choices = wider
