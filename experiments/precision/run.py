"""Float32 against bfloat16: the same short trainings on eleven phantom tasks, val Dice of each seed.

python -m uniseg.prepare experiment=phantom_table
python experiments/precision/run.py --processes 2
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

HERE = Path(__file__).parent
PRECISIONS = ("32-true", "bf16-mixed")
SEEDS = (0, 1, 2)
STEPS = 330


def train(precision: str, seed: int, folder: Path, learning_rate: float) -> dict[str, float]:
    """Last val Dice, largest loss of an epoch; a training that is done is not done again."""
    log = folder / "logs/metrics.csv"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        overrides = [
            "experiment=phantom_table", f"trainer.precision={precision}", f"seed={seed}", f"run_dir={folder}",
            f"optimizer.lr={learning_rate}",
            "trainer.max_epochs=3", f"data.steps_per_epoch={STEPS // 3}", "data.val_steps=88",
            "callbacks.progress.refresh_rate=0", "trainer.accelerator=cpu",
            "overwrite=true",
        ]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (folder / "log.txt").open("w") as log:
            subprocess.run(
                [sys.executable, "-m", "uniseg.train", *overrides],
                env=environment,
                stdout=log,
                stderr=log,
                check=True,
            )
        (folder / "done").touch()
    with log.open() as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    return {
        "dev_dice": [float(row["val/pseudo_dice"]) for row in rows if row["val/pseudo_dice"]][-1],
        "largest_loss": max(losses),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=0.01, help="of both")
    parser.add_argument("--outputs", type=Path, default=Path("outputs/precision"))
    options = parser.parse_args()
    jobs = list(product(PRECISIONS, SEEDS))
    found = Parallel(options.processes)(
        delayed(train)(p, seed, options.outputs.absolute() / p / f"seed{seed}", options.learning_rate)
        for p, seed in jobs
    )
    results = {
        p: [result for (precision, _), result in zip(jobs, found, strict=True) if precision == p] for p in PRECISIONS
    }
    for precision, repeats in results.items():
        dice = [each["dev_dice"] for each in repeats]
        sys.stdout.write(
            f"| {precision} | {np.mean(dice):.3f} ± {np.std(dice, ddof=1):.3f} | "
            f"{max(each['largest_loss'] for each in repeats):.3f} |\n"
        )
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
