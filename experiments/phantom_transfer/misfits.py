"""Thirty fine-tunings from bases that do not fit the target: how often does the verdict say *helped*?

    python experiments/phantom_transfer/misfits.py --minutes 30

Ten seeds, so ten draws of two patients and ten new networks, for each of three kinds of base: weights as they were
drawn (another draw for every seed), another modality (T2 and four-channel MR), another part of the anatomy (tumours of
the lung on CT). What is done stays done: started again it goes on.
"""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from study import HERE, make_data

from uniseg.commands.app import run as run_command
from uniseg.evaluation.verdict import HARMED, HELPED, UNDECIDED, Verdict, judge
from uniseg.metrics.paired import mean_interval, t_interval
from uniseg.run_folder import RunFolder

SEEDS = range(10)
TRAINED = {
    "another modality": "[phantom_prostate,phantom_brain_tumour]",
    "another anatomy": "[phantom_lung]",
}
RANDOM = "random weights"
RANDOM_SEED = 100  # and those that follow, which no fine-tuning has


def command(name: str, outputs: Path, *overrides: str) -> None:
    """A command of uniseg, in this process."""
    folders = [f"paths.{key}={outputs / key}" for key in ("cache", "phantoms")]
    result = run_command([name, f"paths.outputs={outputs}", *folders, *overrides])
    if result.code:
        raise SystemExit(result.code)


def base(kind: str, seed: int, outputs: Path, suite: Path) -> Path:
    """A checkpoint; trained where it is not there yet."""
    number = RANDOM_SEED + seed if kind == RANDOM else 0
    folder = outputs / "misfits/bases" / f"{kind.replace(' ', '_')}{number}"
    if not (folder / "done").exists():
        task = TRAINED.get(kind, "[phantom_lung]")
        where = ["experiment=phantom_transfer_base", f"task={task}", f"paths.phantoms={suite}"]
        drawn = ["optimizer.lr=1e-12", "data.steps_per_epoch=1", "data.val_steps=1", "trainer.max_epochs=1"]
        length = drawn if kind == RANDOM else ["trainer.max_epochs=3"]
        command("prepare", outputs, *where)
        command("train", outputs, *where, *length, f"seed={number}", f"run_dir={folder}", "overwrite=true")
        (folder / "done").touch()
    return RunFolder(folder).checkpoint


def fine_tune(kind: str, seed: int, outputs: Path, suite: Path, steps: int) -> Verdict:
    """Of a fine-tuning on the stomach with two patients, beside its control."""
    folder = outputs / "misfits" / f"{steps}_steps" / kind.replace(" ", "_") / f"seed{seed}"
    if not RunFolder(folder).verdict.exists():
        start = [f"base={base(kind, seed, outputs, suite)}", "num_patients=2", "control=true", f"seed={seed}"]
        length = [f"data.steps_per_epoch={steps}", "trainer.max_epochs=1", "optimizer.lr=0.01"]
        task = ["experiment=phantom_transfer", "task=[transfer_stomach]"]
        command("finetune", outputs, *task, *start, *length, f"run_dir={folder}", "overwrite=true")
    told = Verdict.read(RunFolder(folder).verdict)
    return judge([told.fine_tuned], [told.control], (told.use, told.use))  # as the code of today


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no fine-tuning is begun")
    parser.add_argument("--outputs", type=Path, default=Path("outputs/phantom_transfer"))
    parser.add_argument("--seeds", type=int, nargs="+", choices=SEEDS, default=SEEDS, help="some of the draws")
    parser.add_argument("--steps", type=int, default=165, help="of every fine-tuning and control")
    options = parser.parse_args()
    outputs, end = options.outputs.absolute(), time.monotonic() + 60 * options.minutes
    os.chdir(HERE)  # where the experiment's own conf lies
    make_data(outputs / "phantoms")
    command("prepare", outputs, "experiment=phantom_transfer", "task=[transfer_stomach]")
    verdicts: dict[str, list[Verdict]] = {}
    for seed in options.seeds:
        for kind in (RANDOM, *TRAINED):
            if time.monotonic() < end:
                verdicts.setdefault(kind, []).append(fine_tune(kind, seed, outputs, outputs / "suite", options.steps))
    content = {
        "steps": options.steps,
        "outcomes": {kind: count([verdict.outcome for verdict in each]) for kind, each in verdicts.items()},
        "outcomes_by_patients_alone": {kind: count(map(of_patients, each)) for kind, each in verdicts.items()},
        "differences": {kind: [verdict.difference for verdict in each] for kind, each in verdicts.items()},
        "mean_difference": {kind: mean_of_draws(each) for kind, each in verdicts.items()},
    }
    (HERE / "misfits.json").write_text(json.dumps(content, indent=1) + "\n")


def mean_of_draws(verdicts: list[Verdict]) -> dict[str, float | list[float]]:
    """With its interval over the draws: whether this kind of base helps in truth."""
    values = np.array([verdict.difference for verdict in verdicts])
    interval = t_interval(values)
    return {"mean": float(values.mean()), "interval": [interval.low, interval.high]}


def of_patients(verdict: Verdict) -> str:
    """The outcome if nothing were known of the luck of a training."""
    differences = [verdict.fine_tuned[patient] - dice for patient, dice in verdict.control.items()]
    interval = mean_interval(np.array(differences))
    return HELPED if interval.low > 0 else HARMED if interval.high < 0 else UNDECIDED


def count(outcomes: Iterable[str]) -> dict[str, int]:
    counts = Counter(outcomes)
    return {outcome: counts[outcome] for outcome in (HELPED, UNDECIDED, HARMED)}


if __name__ == "__main__":
    main()
