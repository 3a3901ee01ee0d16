"""Patches per second and core from a warm cache, read and collated, with the voxels that rotation needs, against
nnU-Net v2's reader.

Six synthetic cases of 160x320x320 (smooth, with noise, air around), written by each side's own writer; nnU-Net's loader
runs without transforms on the enlarged patch that its trainer asks for, ours answers the requests of the stream. The
anchor runs in its own environment:

    python -m venv nnunet_env && nnunet_env/bin/pip install torch==2.13.0 nnunetv2==2.8.1
    python benchmarks/bench_reader.py --nnunet-python nnunet_env/bin/python
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from record import one_core, record

one_core()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy import ndimage  # noqa: E402

from uniseg.cache.store import CaseEntry, TaskCache, write_case, write_task  # noqa: E402
from uniseg.datasets.splits import SplitTable  # noqa: E402
from uniseg.sampling.augment.recipe import AugmentRecipe  # noqa: E402
from uniseg.sampling.patches import PatchReader  # noqa: E402
from uniseg.sampling.requests import RequestStream, TaskCases  # noqa: E402
from uniseg.sampling.settings import StreamSettings  # noqa: E402
from uniseg.task import Normalization, Task  # noqa: E402

PATCH = (64, 192, 192)
SHAPE = (160, 320, 320)
CASES = 6
BATCH = 2
WARM_UP = 20
ROUNDS = 3  # ours and the anchor in turn
TASK = Task(
    "synthetic",
    ("CT",),
    ("background", "organ", "tumour"),
    (3, 1.5, 1.5),
    (Normalization("window", lower=-325, upper=325),),
)


def make_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image ``[1,Z,Y,X]`` about mean 0 and deviation 1, label ``[Z,Y,X]``."""
    rng = np.random.default_rng(seed)
    image = ndimage.zoom(rng.normal(size=[n // 16 for n in SHAPE]).astype(np.float32), 16, order=1)
    image += rng.normal(size=SHAPE).astype(np.float32) * 0.15
    organ = ndimage.zoom((rng.random([n // 32 for n in SHAPE]) < 0.1).astype(np.float32), 32, order=1)
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    image[:, (y - SHAPE[1] / 2) ** 2 + (x - SHAPE[2] / 2) ** 2 > (0.47 * SHAPE[1]) ** 2] = -3
    return image.clip(-3, 3)[None], (organ > 0.5).astype(np.int16) + (organ > 0.8)


def write_cases(source: Path, folder: Path) -> TaskCache:
    """Ours in ``folder``, the same arrays in ``source`` for the anchor to write itself."""
    entries = [CaseEntry(f"case_{n}", f"synthetic/case_{n}", SHAPE, "0") for n in range(CASES)]
    for number, entry in enumerate(entries):
        image, label = make_case(number)
        np.savez(source / f"{entry.case_id}.npz", image=image, label=label)
        write_case(folder, entry, image, label, TASK)
    names = tuple(entry.case_id for entry in entries)
    write_task(
        folder, TASK, entries, SplitTable((), (names,), (), {entry.case_id: entry.patient_id for entry in entries})
    )
    return TaskCache(folder)


def seconds_of_ours(cache: TaskCache, batches: int, seed: int) -> list[float]:
    stream = RequestStream(
        [TaskCases(TASK.name, tuple(cache.entries), (False,))],
        StreamSettings(steps_per_epoch=250, batch_size=BATCH),
        AugmentRecipe(),
        seed,
    )
    reader, seconds = PatchReader([cache], PATCH), []
    for step in range(WARM_UP + batches):
        start = time.perf_counter()
        reader.__getitems__(stream.batch(step))
        seconds.append(time.perf_counter() - start)
    return seconds[WARM_UP:]


def run_anchor(python: Path, source: Path, folder: Path, batches: int) -> dict:
    words = [python, Path(__file__).with_name("anchor_reader.py"), source, folder, batches, BATCH, *PATCH]
    out = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout
    return json.loads(out.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--nnunet-python", type=Path, required=True, help="python of an environment with nnunetv2==2.8.1"
    )
    parser.add_argument("--batches", type=int, default=300, help="per side")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        source, ours_dir, anchor_dir = (Path(temporary) / name for name in ("source", "ours", "anchor"))
        source.mkdir()
        anchor_dir.mkdir()
        cache = write_cases(source, ours_dir)
        ours, anchor = [], []
        for number in range(ROUNDS):
            ours += seconds_of_ours(cache, options.batches // ROUNDS, number)
            done = run_anchor(options.nnunet_python, source, anchor_dir, options.batches // ROUNDS)
            anchor += done["seconds"]
        size = sum(path.stat().st_size for path in ours_dir.rglob("*.b2nd"))
    name = f"reader, {'x'.join(map(str, PATCH))}, warm cache, one core"
    record(
        f"{name}, mean",
        BATCH / statistics.mean(ours),
        BATCH / statistics.mean(anchor),
        "patches/s",
        more_is_better=True,
    )
    record(
        f"{name}, median",
        BATCH / statistics.median(ours),
        BATCH / statistics.median(anchor),
        "patches/s",
        more_is_better=True,
    )
    record("cache, six synthetic cases of 160x320x320", size / 1e6, done["bytes"] / 1e6, "MB")


if __name__ == "__main__":
    main()
