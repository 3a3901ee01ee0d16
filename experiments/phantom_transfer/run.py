"""Fine-tuning part by part on phantoms: start, schedule, norm restoring, each alone; 1 to 16 patients; two targets.

    python experiments/phantom_transfer/run.py --processes 2 --minutes 120

Every step is a command of uniseg. What is done stays done: started again it goes on, so that it can be had in chunks.
"""

import argparse
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
from uniseg.metrics.paired import Comparison, compare, holm
from uniseg.phantom.suite import DATASETS, write_case
from uniseg.run_folder import RunFolder

HERE = Path(__file__).parent
PATIENTS_SEED, NUM_CASES = 13, 44  # of nobody in the suite that the base learns from
TARGETS = ("stomach", "colon")
SEEDS, CHOICE_SEED = (0, 1, 2), 3
NUM_PATIENTS, CHOICE_PATIENTS = (1, 2, 5, 16), 5
LEARNING_RATES = (0.001, 0.003, 0.01, 0.03)
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
# Share of a part: an arm against the one that lacks it.
PARTS = {
    "start": ("base", NEW),
    "norms restored": (BOTH, "base, sawtooth"),
    "norms restored alone": ("base, norms restored", "base"),
    "sawtooth": (BOTH, "base, norms restored"),
    "sawtooth alone": ("base, sawtooth", "base"),
}


@dataclass(frozen=True)
class Study:
    """Where it runs, how long at most, with what in every command; which part of the whole is done.

    Attributes:
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


def mean_dice(run: Run) -> float:
    return float(np.mean(list(per_patient(run, "val").values())))


def choices(study: Study) -> list[Run]:
    """Of the learning rate of every arm and target, by whole val scans."""
    root = study.outputs / "choice"
    return [
        Run(target, arm, CHOICE_PATIENTS, CHOICE_SEED, lr, root / target / slug(arm) / f"lr{lr}")
        for target, arm, lr in product(study.targets, study.arms, study.learning_rates)
    ]


def chosen(candidates: Sequence[Run]) -> dict[tuple[str, str], float]:
    """(target, arm) -> the learning rate with the best val Dice."""
    return {(run.target, run.arm): run.learning_rate for run in sorted(candidates, key=mean_dice)}


def entries(study: Study, best: dict[tuple[str, str], float]) -> list[Run]:
    root = study.outputs / "table"
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


def summary(study: Study, candidates: Sequence[Run], runs: Sequence[Run]) -> dict:
    """Dice of every seed, each arm against new weights, each part's share; p by Wilcoxon, Holm over all tests."""
    pairs = [(f"{arm} - {NEW}", (arm, NEW)) for arm in study.arms if arm != NEW]
    pairs += [(f"share of: {part}", arms) for part, arms in PARTS.items() if {*arms} <= {*study.arms}]
    tests = [
        (target, n, name, compared(runs, target, n, arms))
        for target, n, (name, arms) in product(study.targets, study.num_patients, pairs)
    ]
    adjusted = holm([test.p for *_, test in tests])
    return {
        "val_dice": {f"{run.target}, {run.arm}, {run.learning_rate}": mean_dice(run) for run in candidates},
        "edges": [
            f"{target}, {arm}: {lr}"
            for (target, arm), lr in chosen(candidates).items()
            if lr in (min(study.learning_rates), max(study.learning_rates))
        ],
        "test_dice": {
            f"{target}, {n} patients, {arm}": [
                float(np.mean(list(per_patient(run, "test").values())))
                for run in runs
                if (run.target, run.num_patients, run.arm) == (target, n, arm)
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
    parser.add_argument("--rates", nargs="+", type=float, default=LEARNING_RATES)
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
    candidates = choices(study)
    if not study.each(lambda s, each: score(s, each, "val"), candidates):
        return False
    runs = entries(study, chosen(candidates))
    if not study.each(lambda s, each: score(s, each, "test"), runs):
        return False
    results.write_text(json.dumps(summary(study, candidates, runs), indent=1) + "\n")
    return True


if __name__ == "__main__":
    main()
