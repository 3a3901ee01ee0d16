"""Do pretext tasks help: scans without labels, a few labelled patients of an organ that no base has seen.

    python experiments/pretext/run.py --processes 2 --minutes 120
    UNISEG_DATA=<folder of the real sets> python experiments/pretext/run.py --scans hippocampus

Every step is a command of uniseg. What is done stays done: started again it goes on, so that it can be had in chunks.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scans import PHANTOMS, SCANS, Scans

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "phantom_transfer"))

from study import LADDER, make_data, mean_dice, per_patient, slug  # noqa: E402

from uniseg.evaluation.records import Summary  # noqa: E402
from uniseg.metrics.paired import compare, holm  # noqa: E402
from uniseg.metrics.training_luck import luck_of_trainings, with_luck  # noqa: E402
from uniseg.run_folder import RunFolder  # noqa: E402

SEEDS, CHOICE_SEED = (0, 1, 2), 3
CHOICE_PATIENTS = 5
LEARNING_RATES = (0.003, 0.01, 0.03)  # tried first; while an arm's best is an edge, the next of the ladder too
NEW = "new weights"
BASES = tuple(PHANTOMS.bases)
ARMS = (NEW, *BASES)
PAIRS = [(arm, NEW) for arm in BASES] + [
    ("segmentation with mae", "segmentation"),
    ("segmentation with mae", "mae, then segmentation"),
]


@dataclass(frozen=True)
class Study:
    """Of which scans, where it runs, how long at most, how much of it."""

    scans: Scans
    outputs: Path
    processes: int
    end: float
    epochs: int
    extra: Sequence[str]
    arms: Sequence[str]
    seeds: Sequence[int]
    num_patients: Sequence[int]
    learning_rates: Sequence[float]

    def command(self, name: str, part: str, *overrides: str) -> None:
        """A command of uniseg on ``base`` or ``target``, started beside the experiments' own ``conf``; what it tells
        goes to a log.
        """
        experiment = f"{self.scans.name}_{part}"
        folders = [f"paths.{key}={self.outputs / key}" for key in ("cache", "phantoms")]
        words = [sys.executable, "-m", f"uniseg.{name}", f"experiment={experiment}", f"paths.outputs={self.outputs}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (self.outputs / "log.txt").open("a") as log:
            everything = [*words, *folders, *overrides, *([] if name == "prepare" else self.extra)]
            subprocess.run(everything, cwd=HERE, env=environment, stdout=log, stderr=log, check=True)

    def once(self, folder: Path, piece: str, work: Callable[[], None]) -> None:
        """``work``, unless ``folder`` says that it is done; its minutes are kept there."""
        if not (folder / "done").exists():
            folder.mkdir(parents=True, exist_ok=True)
            start = time.monotonic()
            work()
            (folder / "done").write_text(f"{piece}\t{(time.monotonic() - start) / 60:.2f}\n")

    def each(self, work: Callable, items: Sequence) -> bool:
        """``work`` of every item, as long as there is time; whether all are done."""

        def in_time(item: object) -> bool:
            return time.monotonic() < self.end and (work(self, item) or True)

        return all(Parallel(n_jobs=self.processes, backend="threading")(delayed(in_time)(item) for item in items))

    def minutes(self) -> dict[str, float]:
        """Measured, a mean by piece."""
        lines = [path.read_text().strip().split("\t") for path in sorted(self.outputs.rglob("done"))]
        pieces = {piece for piece, _ in lines}
        return {piece: float(np.mean([float(m) for name, m in lines if name == piece])) for piece in sorted(pieces)}


@dataclass(frozen=True)
class Run:
    """One training on the target; its seed draws the patients too."""

    arm: str
    num_patients: int
    seed: int
    learning_rate: float
    folder: Path


def base_folder(study: Study, arm: str, stage: int = -1) -> Path:
    """Of the last training of a base, or of another one."""
    return study.outputs / "bases" / slug(arm) / str(range(len(study.scans.bases[arm]))[stage])


def train_base(study: Study, arm: str) -> None:
    for stage, (tasks, fraction, settings) in enumerate(study.scans.bases[arm]):
        folder = base_folder(study, arm, stage)
        overrides = [
            f"task=[{','.join(tasks)}]",
            f"run_dir={folder}",
            f"trainer.max_epochs={max(1, round(study.epochs * fraction))}",
            *settings,
        ]
        if stage:
            start = RunFolder(base_folder(study, arm, stage - 1)).checkpoint
            overrides += ["init=checkpoint", f"init.checkpoint={start}"]
        work = [*overrides, f"paths.phantoms={study.outputs / 'all'}", "ckpt_path=last"]
        study.once(folder, "a base", lambda work=work: study.command("train", "base", *work))


def train(study: Study, run: Run) -> None:
    start = []
    if run.arm != NEW:
        base = RunFolder(base_folder(study, run.arm)).checkpoint
        start = ["finetune=recipe", "init=checkpoint", f"init.checkpoint={base}"]
    settings = [f"data.num_patients={run.num_patients}", f"seed={run.seed}", f"optimizer.lr={run.learning_rate}"]
    everything = [*start, *settings, f"run_dir={run.folder}", "ckpt_path=last"]
    study.once(run.folder, "a training on the target", lambda: study.command("train", "target", *everything))


def score(study: Study, run: Run, split: str) -> None:
    train(study, run)
    if not RunFolder(run.folder).evaluation(split).metrics.exists():
        where = [f"run_dir={run.folder}", f"split={split}", "rules.surfaces=false"]
        study.once(run.folder / split, "an evaluation", lambda: study.command("evaluate", "target", *where))


def choose(study: Study) -> list[Run] | None:
    """Trainings that choose every arm's learning rate, by whole val scans, with a seed that the table does not use.

    None: time is up.
    """
    rates = dict.fromkeys(study.arms, sorted(study.learning_rates))
    while True:
        root = study.outputs / "choice"
        runs = [
            Run(arm, CHOICE_PATIENTS, CHOICE_SEED, lr, root / slug(arm) / f"lr{lr}")
            for arm, tried in rates.items()
            for lr in tried
        ]
        if not study.each(lambda s, each: score(s, each, "val"), runs):
            return None
        best = best_rates(runs)
        wider = {arm: with_neighbours(tried, best[arm]) for arm, tried in rates.items()}
        if wider == rates:
            return runs
        rates = wider


def best_rates(runs: Sequence[Run]) -> dict[str, float]:
    """Of every arm, by val Dice."""
    return {run.arm: run.learning_rate for run in sorted(runs, key=lambda run: mean_dice(run, "val"))}


def with_neighbours(rates: Sequence[float], best: float) -> list[float]:
    """The rates, with those beside the best of the ladder."""
    place = LADDER.index(best)
    return sorted({*rates, *LADDER[max(0, place - 1) : place + 2]})


def entries(study: Study, best: dict[str, float]) -> list[Run]:
    root = study.outputs / "table"
    return [
        Run(arm, number, seed, best[arm], root / f"{number}_patients" / slug(arm) / f"seed{seed}")
        for number, seed, arm in product(study.num_patients, study.seeds, study.arms)
    ]


def dice_of(runs: Sequence[Run], arm: str) -> dict[str, float]:
    """Per test patient, seeds averaged."""
    scores = [per_patient(run, "test") for run in runs if run.arm == arm]
    return {patient: float(np.mean([each[patient] for each in scores])) for patient in sorted(scores[0])}


def summary(study: Study, candidates: Sequence[Run], runs: Sequence[Run]) -> dict:
    """Of every number of patients, with what chose the rates and the minutes of every piece."""
    return {
        "minutes": study.minutes(),
        "val_dice": {f"{run.arm}, {run.learning_rate}": mean_dice(run, "val") for run in candidates},
        **{
            f"{number} patients": table(study, [run for run in runs if run.num_patients == number])
            for number in study.num_patients
        },
    }


def table(study: Study, runs: Sequence[Run]) -> dict:
    """Dice of every seed, the majority vote, paired differences; p by Wilcoxon, Holm over all tests."""
    pairs = [pair for pair in PAIRS if {*pair} <= {*study.arms}]
    dice = {arm: dice_of(runs, arm) for arm in study.arms}
    tests = [compare(*(np.array(list(dice[arm].values())) for arm in pair)) for pair in pairs]
    scored = Summary.read(RunFolder(runs[0].folder).evaluation("test").metrics)
    by_seed = {arm: np.array([mean_dice(run, "test") for run in runs if run.arm == arm]) for arm in study.arms}
    differences = []
    for pair, test, p in zip(pairs, tests, holm([test.p for test in tests]), strict=True):
        wider = with_luck(test.interval, test.difference, luck_of_trainings(by_seed[pair[0]] - by_seed[pair[1]]))
        differences.append(
            {
                "what": " - ".join(pair),
                "difference": test.difference,
                "interval": [test.interval.low, test.interval.high],
                "interval_with_luck": [wider.low, wider.high],
                "p_holm": p,
            }
        )
    return {
        "majority_vote": scored.tasks[study.scans.target].baseline_dice,
        "test_dice": {arm: values.tolist() for arm, values in by_seed.items()},
        "differences": differences,
    }


def run(study: Study, results: Path) -> bool:
    """Whether all is done, and the results are written."""
    study.outputs.mkdir(parents=True, exist_ok=True)
    study.once(study.outputs / "data", "the scans without labels and of the target", lambda: make_scans(study))
    if not study.each(train_base, [arm for arm in study.arms if arm != NEW]):
        return False
    candidates = choose(study)
    if candidates is None:
        return False
    runs = entries(study, best_rates(candidates))
    if not study.each(lambda s, each: score(s, each, "test"), runs):
        return False
    results.write_text(json.dumps(summary(study, candidates, runs), indent=1) + "\n")
    return True


def make_scans(study: Study) -> None:
    scans = study.scans
    if scans is PHANTOMS:
        make_data(study.outputs / "phantoms")
    study.command("prepare", "target", f"task=[{','.join([scans.target, scans.mae, scans.volume_fusion])}]")
    if any("segmentation" in arm for arm in study.arms):
        suite = f"paths.phantoms={study.outputs / 'suite'}"
        study.command("prepare", "base", f"task=[{','.join(scans.labelled)}]", suite)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", choices=SCANS, default="phantoms")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no training is begun")
    parser.add_argument("--outputs", type=Path, help="default: outputs/<name of the experiments>")
    parser.add_argument("--epochs", type=int, default=30, help="of every base, of 110 steps each")
    parser.add_argument("--extra", nargs="*", default=[], help="settings of every training and evaluation")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--patients", nargs="+", type=int, help="labelled; default: all numbers of the study")
    parser.add_argument("--rates", nargs="+", type=float, default=LEARNING_RATES)
    parser.add_argument("--results", help="file beside this one; default: results_<scans>.json")
    options = parser.parse_args()
    scans = SCANS[options.scans]
    os.environ["UNISEG_DATA"] = str(Path(os.environ.get("UNISEG_DATA", "data")).absolute())
    study = Study(
        scans,
        (options.outputs or Path("outputs") / scans.name).absolute(),
        options.processes,
        end=time.monotonic() + 60 * options.minutes,
        epochs=options.epochs,
        extra=options.extra,
        arms=options.arms,
        seeds=options.seeds,
        num_patients=options.patients or scans.num_patients,
        learning_rates=options.rates,
    )
    if not run(study, HERE / (options.results or f"results_{options.scans}.json")):
        sys.stderr.write("Time is up; the same command goes on.\n")


if __name__ == "__main__":
    main()
