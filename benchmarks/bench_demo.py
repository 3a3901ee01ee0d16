"""The demo, start to end: its mean test Dice, whether its prompts still see the image, its minutes.

Leaves ``outputs/demo``, whose checkpoint ``bench_predict_speed.py`` takes, as ``make demo`` does.

    python benchmarks/bench_demo.py
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from record import record

from uniseg.evaluation.health import NetworkHealth
from uniseg.run_folder import RunFolder

ROOT = Path(__file__).parents[1]
COMMANDS = (("prepare",), ("train", "overwrite=true"), ("evaluate",))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    start = time.perf_counter()
    for command, *overrides in COMMANDS:
        subprocess.run([sys.executable, "-m", f"uniseg.{command}", "experiment=demo", *overrides], cwd=ROOT, check=True)
    minutes = (time.perf_counter() - start) / 60
    run = RunFolder(ROOT / "outputs/demo")
    health = NetworkHealth.load(run.health)
    assert health is not None, f"{run.health} is missing"
    scores = json.loads((run.path / "evaluation/metrics.json").read_text())
    record("demo, image share of the task prompts", float(health.last_image_share), None, "at the end of the training")
    record("demo, mean test Dice", float(scores["mean_dice"]), None, "of eleven phantom tasks")
    record("demo, preparation, training, evaluation", minutes, None, "minutes")


if __name__ == "__main__":
    main()
