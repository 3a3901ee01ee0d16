"""Cost against size: time until a training can begin, time per request, memory, for many tasks with many cases.

    python benchmarks/bench_scale.py

Entries are synthetic (no arrays); every size runs in a process of its own, imports excluded.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from uniseg.cache.store import FORMAT, CaseEntry
from uniseg.datasets.case import Case
from uniseg.datasets.splits import split_cases
from uniseg.sampling.augment.recipe import AugmentRecipe
from uniseg.sampling.datamodule import UniSegDataModule
from uniseg.sampling.settings import StreamSettings
from uniseg.task import Normalization, Task

SIZES = ((1, 10), (1, 1000), (1, 10_000), (10, 1000), (10, 10_000), (100, 1000), (100, 10_000))
BATCHES = 500
SETTINGS = StreamSettings(patch_size=(64, 192, 192), batch_size=2, steps_per_epoch=550, val_steps=50)
RECIPE = AugmentRecipe(p_channel_dropout=0)


def write_entries(root: Path, num_tasks: int, num_cases: int) -> list[str]:
    """A prepared folder per task, as ``write_task`` leaves it, without the cases' own folders."""
    names = [f"task{t:03d}" for t in range(num_tasks)]
    for name in names:
        task = Task(
            name, ("CT",), ("background", "target"), (3, 1.5, 1.5), (Normalization("window", lower=-325, upper=325),)
        )
        cases = [Case(f"case_{i:05d}", f"{name}/case_{i:05d}", (), None) for i in range(num_cases // num_tasks)]
        entries = [vars(CaseEntry(case.case_id, case.patient_id, (100, 300, 300), "0" * 16)) for case in cases]
        (root / name).mkdir()
        (root / name / "splits.json").write_text(json.dumps(split_cases(name, cases, None).to_dict()))
        (root / name / "task.json").write_text(json.dumps({"format": FORMAT, "task": task.to_dict(), "cases": entries}))
    return names


def measure(root: Path, names: list[str]) -> dict[str, float]:
    before = resident_mb()
    start = time.perf_counter()
    data = UniSegDataModule(names, root, SETTINGS, RECIPE)
    begun = time.perf_counter() - start
    times = []
    for step in range(BATCHES):
        start = time.perf_counter()
        data.train_stream.batch(step)
        times.append((time.perf_counter() - start) / SETTINGS.batch_size)
    return {"start_s": begun, "request_us": median(times) * 1e6, "memory_mb": resident_mb() - before}


def resident_mb() -> float:
    return (
        int(
            next(
                line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")
            ).split()[1]
        )
        / 1024
    )


def main() -> None:
    from record import record

    for num_tasks, num_cases in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            names = write_entries(Path(folder), num_tasks, num_cases)
            done = subprocess.run(
                [sys.executable, __file__, folder, *names], capture_output=True, text=True, check=True
            )
        row = json.loads(done.stdout)
        size = f"{num_tasks} tasks, {num_cases} cases"
        record(f"scale, time to begin, {size}", row["start_s"], None, "s")
        record(f"scale, one request, {size}", row["request_us"], None, "us")
        record(f"scale, memory of the index, {size}", row["memory_mb"], None, "MB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(measure(Path(sys.argv[1]), sys.argv[2:])))
    else:
        main()
