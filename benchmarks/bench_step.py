"""One training step of UniSeg at the published shape, against nnU-Net v2's plain U-Net of the same convolutions.

Forward pass with the loss at every scale, backward pass, clipping, SGD; 32x96x96, batch 2, six stages. Each side runs
in a process of its own, in turn, step by step. Also: UniSeg alone over the number of tasks and over the choices of
``conf/speed``.

    python -m venv nnunet_env && nnunet_env/bin/pip install torch==2.13.0 nnunetv2==2.8.1
    python benchmarks/bench_step.py --nnunet-python nnunet_env/bin/python
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from record import record
from step_worker import Setting

HERE = Path(__file__).parent
WIDTHS = (8, 16, 32)
TASKS = (1, 11, 100, 200)
SPEED = ("checkpoint_activations", "compile")
WARM_UP = 2


@dataclass(frozen=True)
class Measured:
    """Median step, peak of memory, parameters."""

    seconds: float
    peak_mb: float
    parameters: int


class Worker:
    """A side's process."""

    def __init__(self, python: Path | str, script: str, setting: Setting) -> None:
        words = [str(python), str(HERE / script), json.dumps(asdict(setting))]
        environment = os.environ | {"OMP_NUM_THREADS": str(setting.threads)}
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.parameters = self._read("parameters")
        self.seconds: list[float] = []

    def step(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append(self._read("seconds"))

    def end(self) -> Measured:
        self.process.stdin.close()
        peak = self._read("peak_mb")
        self.process.wait()
        return Measured(median(self.seconds[WARM_UP:]), peak, int(self.parameters))

    def _read(self, key: str) -> float:
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)[key]
        raise RuntimeError(f"{self.process.args[1]} ended with {self.process.wait()}")


def measure(arms: Sequence[tuple[Path | str, str, Setting]], repeats: int) -> list[Measured]:
    """The arms in turn, step by step."""
    workers = [Worker(*arm) for arm in arms]
    for _ in range(WARM_UP + repeats):
        for worker in workers:
            worker.step()
    return [worker.end() for worker in workers]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--nnunet-python", type=Path, required=True, help="python of an environment with nnunetv2==2.8.1"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--patch", type=int, nargs=3, default=(32, 96, 96), metavar=("Z", "Y", "X"))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--widths", type=int, nargs="*", default=WIDTHS)
    parser.add_argument("--tasks", type=int, nargs="*", default=TASKS)
    parser.add_argument("--speed", nargs="*", default=SPEED)
    return parser.parse_args()


def main() -> None:
    given = options()
    base = Setting(16, list(given.patch), given.batch, given.threads, given.device, given.precision)
    where = f"{'x'.join(map(str, given.patch))}, batch {given.batch}, {given.precision}, {given.device}"
    for width in given.widths:
        setting = replace(base, width=width)
        last, planned = replace(setting, speed=("channels_last",)), replace(setting, planned_decoder=True)
        sides = [(sys.executable, "ours_step.py", s) for s in (setting, last)] + [
            (given.nnunet_python, "anchor_step.py", s) for s in (setting, planned)
        ]
        ours, faster, anchor, lighter = measure(sides, given.repeats)
        name = f"training step, width {width}, {where}"
        record(name, ours.seconds, anchor.seconds, "s, median; anchor: plain U-Net, same kernels")
        record(f"{name}, channels last", faster.seconds, anchor.seconds, "s, median; anchor: plain U-Net, same kernels")
        record(
            f"{name}, channels last, 1x3x3 in the anchor's last stage",
            faster.seconds,
            lighter.seconds,
            "s, median; anchor: as nnU-Net v2 builds it",
        )
        record(f"{name}, channels last, peak memory", faster.peak_mb, anchor.peak_mb, "MB beyond the imports")
        record(f"{name}, peak memory", ours.peak_mb, anchor.peak_mb, "MB beyond the imports")
        record(f"{name}, parameters", ours.parameters, anchor.parameters, "numbers; ours with the prompts of 11 tasks")
    if given.tasks:
        arms = [(sys.executable, "ours_step.py", replace(base, num_tasks=number)) for number in given.tasks]
        for number, ours in zip(given.tasks, measure(arms, given.repeats), strict=True):
            record(f"training step, width {base.width}, {where}, {number} tasks", ours.seconds, None, "s, median")
    for choice in given.speed:
        arms = [(sys.executable, "ours_step.py", replace(base, speed=speed)) for speed in ((choice,), ())]
        ours, plain = measure(arms, given.repeats)
        record(
            f"training step, width {base.width}, {where}, {choice}",
            ours.seconds,
            plain.seconds,
            "s, median; anchor: without",
        )
        record(
            f"training step, width {base.width}, {where}, {choice}, peak memory",
            ours.peak_mb,
            plain.peak_mb,
            "MB; anchor: without",
        )


if __name__ == "__main__":
    main()
