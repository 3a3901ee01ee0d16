"""A twelfth phantom task: added to a network of eleven, or learnt alone from the same cases.

    python experiments/growing/run.py outputs/phantom_table/2970_steps/table/uniseg/joint --processes 2

The argument is a folder with ``seed<n>/checkpoints/last.ckpt`` of networks of eleven tasks. Every step is a command of
uniseg; started again it resumes where it was stopped.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
from joblib import Parallel, delayed

from uniseg.evaluation.forgetting import ForgettingReport
from uniseg.phantom.shapes import VALUE
from uniseg.phantom.suite import write_case
from uniseg.run_folder import RunFolder

HERE = Path(__file__).parent
NAME = "phantom_stomach"
PATIENTS_SEED = 12  # of nobody in the suite that the eleven tasks were learnt from
NUM_CASES = 40
SEEDS = (0, 1, 2)
CHOICE_SEED = 3
NUM_PATIENTS = (2, 16)
LEARNING_RATES = (0.003, 0.01, 0.03)


@dataclass(frozen=True)
class Arm:
    name: str
    title: str
    overrides: tuple[str, ...]
    grown: bool


ARMS = (
    Arm("prompt_only", "added, the rest frozen", ("finetune=prompt_only",), True),
    Arm("extend_full", "added, all trained", ("finetune=extend_full",), True),
    Arm("alone", "alone, from new weights", ("model/conditioning=none",), False),
)


@dataclass(frozen=True)
class Run:
    """One training; its seed draws the patients too."""

    arm: Arm
    num_patients: int
    seed: int
    learning_rate: float
    folder: Path

    def overrides(self, base: Path) -> list[str]:
        start = base / f"seed{self.seed if self.seed in SEEDS else SEEDS[0]}" / "checkpoints" / "last.ckpt"
        return [
            *self.arm.overrides,
            *(["init=checkpoint", f"init.checkpoint={start}"] if self.arm.grown else []),
            f"data.num_patients={self.num_patients}",
            f"seed={self.seed}",
            f"optimizer.lr={self.learning_rate}",
            f"run_dir={self.folder}",
        ]


def command(name: str, outputs: Path, *overrides: str) -> None:
    """A command of uniseg, started beside the experiment's own ``conf``; what it tells goes to a log."""
    words = [
        sys.executable,
        "-m",
        f"uniseg.{name}",
        "experiment=growing",
        f"paths.outputs={outputs}",
        f"paths.cache={outputs}/cache",
        f"paths.phantoms={outputs}/phantoms",
        *overrides,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (outputs / "log.txt").open("a") as log:
        subprocess.run(words, cwd=HERE, env=environment, stdout=log, stderr=log, check=True)


def make_data(root: Path) -> None:
    """CTs of new patients, scanned as the suite's livers, with the stomach labelled."""
    done = root / NAME / "dataset.json"
    if done.exists():
        return
    for kind in ("phantom_liver/imagesTr", "phantom_liver/labelsTr", "truth", f"{NAME}/imagesTr", f"{NAME}/labelsTr"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    Parallel(n_jobs=2)(delayed(write_case)(root, PATIENTS_SEED, 0, case, True) for case in range(NUM_CASES))
    for case in range(NUM_CASES):
        (root / f"phantom_liver/imagesTr/liver_{case:03d}_0000.nii.gz").replace(
            root / NAME / f"imagesTr/stomach_{case:03d}_0000.nii.gz"
        )
        truth = nib.load(root / f"truth/liver_{case:03d}.nii.gz")
        label = (np.asarray(truth.dataobj) == VALUE["stomach"]).astype(np.uint8)
        nib.save(
            nib.Nifti1Image(label, truth.affine, dtype=np.uint8), root / NAME / f"labelsTr/stomach_{case:03d}.nii.gz"
        )
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "stomach": 1},
        "numTraining": NUM_CASES,
        "file_ending": ".nii.gz",
    }
    done.write_text(json.dumps(description))


def train(run: Run, base: Path, outputs: Path) -> None:
    if not (run.folder / "done").exists():
        run.folder.mkdir(parents=True, exist_ok=True)
        command("train", outputs, *run.overrides(base), "ckpt_path=last")
        (run.folder / "done").touch()


def train_and_score(run: Run, base: Path, outputs: Path) -> None:
    train(run, base, outputs)
    if not (run.folder / "evaluation/metrics.json").exists():
        command("evaluate", outputs, f"run_dir={run.folder}")


def dev_dice(run: Run) -> float:
    lines = (run.folder / "logs/metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("val/pseudo_dice")
    return [float(value) for line in lines[1:] if (value := line.split(",")[column])][-1]


def choices(outputs: Path) -> list[Run]:
    """With the larger number of patients."""
    n = max(NUM_PATIENTS)
    return [
        Run(arm, n, CHOICE_SEED, lr, outputs / "choice" / arm.name / f"lr{lr}")
        for arm, lr in product(ARMS, LEARNING_RATES)
    ]


def chosen(candidates: Sequence[Run]) -> dict[str, float]:
    """Arm -> the learning rate with the best pseudo-Dice on val."""
    return {run.arm.name: run.learning_rate for run in sorted(candidates, key=dev_dice)}


def entries(best: dict[str, float], outputs: Path) -> list[Run]:
    return [
        Run(arm, n, seed, best[arm.name], outputs / "table" / arm.name / f"{n}_patients" / f"seed{seed}")
        for n, arm, seed in product(sorted(NUM_PATIENTS, reverse=True), ARMS, SEEDS)
    ]


def summary(candidates: Sequence[Run], runs: Sequence[Run], base: Path, outputs: Path) -> dict:
    """Per arm and number of patients: Dice of every seed and of the majority vote, how far old answers moved; the size
    of a task file.
    """
    rows = []
    for arm, n in product(ARMS, NUM_PATIENTS):
        repeats = [run for run in runs if run.arm == arm and run.num_patients == n]
        scores = [json.loads((run.folder / "evaluation/metrics.json").read_text())["tasks"][NAME] for run in repeats]
        row = {"arm": arm.title, "patients": n, "learning_rate": repeats[0].learning_rate}
        row |= {
            "dice": [score["dice"] for score in scores],
            "blind_dice": scores[0]["blind_dice"],
            "test_cases": scores[0]["num_cases"],
        }
        if arm.grown:
            reports = [ForgettingReport.read(RunFolder(run.folder).forgetting_report) for run in repeats]
            changes = [change for report in reports for change in report.tasks.values()]
            row["old_logits_identical"] = all(change.identical for change in changes)
            num_changed = sum(change.num_changed_voxels for change in changes)
            row["old_voxels_moved"] = num_changed / sum(change.num_voxels for change in changes)
        rows.append(row)
    first = next(run for run in runs if run.arm == ARMS[0])
    task_file = outputs / "stomach.safetensors"
    words = [f"checkpoint={first.folder / 'checkpoints/last.ckpt'}", f"added_task={NAME}", f"output={task_file}"]
    subprocess.run([sys.executable, "-m", "uniseg.export", *words], check=True, stdout=subprocess.DEVNULL)
    learning_rates = {f"{run.arm.name}, {run.learning_rate}": dev_dice(run) for run in candidates}
    return {
        "dev_dice": learning_rates,
        "task_file_bytes": task_file.stat().st_size,
        "checkpoint_bytes": (base / "seed0/checkpoints/last.ckpt").stat().st_size,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path, help="folder of seed<n>/checkpoints/last.ckpt")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--outputs", type=Path, default=Path("outputs/growing"))
    options = parser.parse_args()
    base, outputs = options.base.absolute(), options.outputs.absolute()
    outputs.mkdir(parents=True, exist_ok=True)
    make_data(outputs / "phantoms")
    command("prepare", outputs)
    work = Parallel(n_jobs=options.processes, verbose=5)
    candidates = choices(outputs)
    work(delayed(train)(run, base, outputs) for run in candidates)
    runs = entries(chosen(candidates), outputs)
    work(delayed(train_and_score)(run, base, outputs) for run in runs)
    (HERE / "results.json").write_text(json.dumps(summary(candidates, runs, base, outputs), indent=1) + "\n")


if __name__ == "__main__":
    main()
