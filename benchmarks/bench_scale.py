"""Cost against size: what begins a training, what a step takes, what is held, for many tasks with many cases.

    python benchmarks/bench_scale.py                   both parts: four minutes of one core
    python benchmarks/bench_scale.py --part training   200 steps on 100 tasks with 30,000 cases, and on 10 with 3,000

Tasks differ in modalities and number of classes. Index, splits, sampling, validation, logs, checkpoints are those of
every run; a task's cases are links to one small prepared case, so that neither the disk nor the network is measured.
Every size runs in a process of its own, imports excluded. Seconds are of the processor, so that what else the machine
does matters little.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from record import one_core, record

one_core()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from lightning import Callback, Trainer  # noqa: E402

from uniseg import UniSegModel, fit  # noqa: E402
from uniseg.cache.store import CaseEntry, TaskCache, write_case, write_task  # noqa: E402
from uniseg.datasets.case import Case  # noqa: E402
from uniseg.datasets.splits import split_cases  # noqa: E402
from uniseg.sampling.augment.recipe import AugmentRecipe  # noqa: E402
from uniseg.sampling.datamodule import UniSegDataModule  # noqa: E402
from uniseg.sampling.settings import StreamSettings  # noqa: E402
from uniseg.task import Normalization, Task, TaskSet  # noqa: E402

SIZES = ((1, 10), (1, 1000), (1, 10_000), (10, 1000), (10, 10_000), (100, 1000), (100, 10_000), (100, 30_000))
TRAININGS = ((10, 3000), (100, 30_000))
MODALITIES = (("CT",), ("MR",), ("CT", "PET"), ("T1", "T1c", "T2", "FLAIR"))
NUM_CLASSES = (2, 3, 4, 8, 15)  # with the background
BATCHES = 500
PUBLISHED = StreamSettings(patch_size=(64, 192, 192), batch_size=2, steps_per_epoch=550, val_steps=50)
TINY = StreamSettings(patch_size=(16, 32, 32), batch_size=2, steps_per_epoch=100, num_workers=2)
EPOCHS = 2
SHAPE = (24, 40, 40)
KEY = "0" * 16


def make_task(number: int) -> Task:
    modalities, num_classes = MODALITIES[number % len(MODALITIES)], NUM_CLASSES[number % len(NUM_CLASSES)]
    how = Normalization("window", lower=-325, upper=325)
    classes = ("background", *(f"class{k}" for k in range(1, num_classes)))
    return Task(f"task{number:03d}", modalities, classes, (3, 1.5, 1.5), (how,) * len(modalities))


def write_cache(root: Path, num_tasks: int, num_cases: int) -> list[str]:
    """A prepared folder per task, whose cases are links to its first one."""
    tasks = [make_task(number) for number in range(num_tasks)]
    rng = np.random.default_rng(0)
    for task in tasks:
        cases = [Case(f"case_{i:05d}", f"{task.name}/case_{i:05d}", (), None) for i in range(num_cases // num_tasks)]
        entries = [CaseEntry(case.case_id, case.patient_id, SHAPE, KEY) for case in cases]
        image = rng.normal(size=(task.num_modalities, *SHAPE)).astype(np.float32)
        label = np.zeros(SHAPE, np.int16)
        label[8:20, 10:30, 10:30] = np.arange(20) % task.num_classes
        write_case(root / task.name, entries[0], image, label, task)
        for entry in entries[1:]:
            (root / task.name / entry.case_id).symlink_to(entries[0].case_id, target_is_directory=True)
        hashes = {case.case_id: hashlib.sha256(case.patient_id.encode()).hexdigest() for case in cases}
        write_task(root / task.name, task, entries, split_cases(task.name, cases, None), hashes)
    return [task.name for task in tasks]


def measure_index(root: Path, names: list[str]) -> dict[str, float]:
    """Of the data of a run, without a network."""
    before, start = memory_mb("VmRSS"), time.process_time()
    data = UniSegDataModule(names, root, PUBLISHED, AugmentRecipe(p_channel_dropout=0))
    begun = time.process_time() - start
    times = []
    for step in range(BATCHES):
        start = time.process_time()
        data.train_stream.batch(step)
        times.append((time.process_time() - start) / PUBLISHED.batch_size)
    return {"start_s": begun, "request_us": median(times) * 1e6, "memory_mb": memory_mb("VmRSS") - before}


class Clock(Callback):
    """What the main process has computed when a training gets where, and what its processes hold."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.seconds: list[float] = []
        self.memory: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: object) -> None:
        self.at["begun"] = time.process_time()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: object) -> None:
        self.seconds = [time.process_time()]

    def on_train_batch_end(self, *args: object) -> None:
        self.at.setdefault("first_step", time.process_time())
        self.seconds.append(time.process_time())

    def on_validation_start(self, trainer: Trainer, pl_module: object) -> None:
        self.at["validation"] = time.process_time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: object) -> None:
        self.at["validated"] = time.process_time()
        readers = [memory_mb("Private_Dirty", pid, "smaps_rollup") for pid in children(os.getpid())]
        self.memory = {"main_mb": memory_mb("VmRSS"), "reader_mb": max(readers)}


def measure_training(root: Path, names: list[str]) -> dict[str, float]:
    """Of ``EPOCHS`` epochs with their validations and checkpoints; steps are those of the last one."""
    torch.manual_seed(0)
    before, start, clock = memory_mb("VmRSS"), time.process_time(), Clock()
    tasks = TaskSet(TaskCache(root / name).task for name in names)
    model = UniSegModel.from_preset("uniseg_tiny", tasks, TINY.patch_size)
    run = root / "run"
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    fit(model, cache=root, run_dir=run, data=TINY, callbacks=[clock], max_epochs=EPOCHS, **quiet)
    return {
        "start_s": clock.at["begun"] - start,
        "first_step_s": clock.at["first_step"] - clock.at["begun"],
        "step_ms": float(np.median(np.diff(clock.seconds))) * 1e3,
        "validation_s": clock.at["validated"] - clock.at["validation"],
        "main_mb": clock.memory["main_mb"] - before,
        "reader_mb": clock.memory["reader_mb"],
        "weights_mb": sum(tensor.nbytes for tensor in model.state_dict().values()) / 1e6,
        "checkpoint_mb": (run / "checkpoints/last.ckpt").stat().st_size / 1e6,
        "whole_s": time.process_time() - start,
    }


ROWS = {  # of ``measure_training``: what, unit
    "start_s": ("from the network to the first epoch", "s of the main process"),
    "first_step_s": ("first step", "s of the main process"),
    "step_ms": ("one step", "ms of the main process, median of 100"),
    "validation_s": ("a validation with what it logs", "s of the main process"),
    "main_mb": ("memory of the main process", "MB beyond the imports"),
    "reader_mb": ("memory of a reader", "MB of its own after 200 steps"),
    "weights_mb": ("weights", "MB"),
    "checkpoint_mb": ("checkpoint", "MB"),
    "whole_s": ("200 steps, start to end", "s of the main process"),
}


def memory_mb(key: str, pid: int | str = "self", file: str = "status") -> float:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def in_own_process(part: str, num_tasks: int, num_cases: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        names = write_cache(Path(folder), num_tasks, num_cases)
        words = [sys.executable, __file__, "--part", part, "--measure", folder, *names]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("index", "training"), help="one of the two")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        root, *names = given.measure
        measured = (measure_index if given.part == "index" else measure_training)(Path(root), names)
        sys.stdout.write("\n" + json.dumps(measured) + "\n")
        return
    for num_tasks, num_cases in SIZES if given.part != "training" else ():
        row, size = in_own_process("index", num_tasks, num_cases), f"{num_tasks} tasks, {num_cases} cases"
        record(f"scale, time to begin, {size}", row["start_s"], None, "s")
        record(f"scale, one request, {size}", row["request_us"], None, "us")
        record(f"scale, memory of the index, {size}", row["memory_mb"], None, "MB")
    for num_tasks, num_cases in TRAININGS if given.part != "index" else ():
        row = in_own_process("training", num_tasks, num_cases)
        for key, (what, unit) in ROWS.items():
            record(f"scale, training, {what}, {num_tasks} tasks, {num_cases} cases", row[key], None, unit)


if __name__ == "__main__":
    main()
