"""Peak memory of a prediction on a whole-body scan of 512 x 512 x 1000 voxels, file to files, over tasks and classes.

The network is narrow: what is measured is everything around it. Each row is a process of its own.

    python benchmarks/bench_predict_memory.py
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from record import record

from uniseg import Predictor, Task, TaskSet, UniSegModel
from uniseg.datasets.case import Case
from uniseg.inference.case_runner import CaseRunner
from uniseg.inference.predict_files import require_none_refused
from uniseg.inference.settings import InferenceSettings
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.task import Normalization

SHAPE_XYZ, SPACING_XYZ = (512, 512, 1000), (0.8, 0.8, 1.0)
CLASSES = {
    "11 tasks of 2 to 3 classes": [3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 3],
    "one task of 4 classes": [4],
    "one task of 120 classes": [120],
}
MAX_MEMORY_GB = 6


def make_scan(path: Path) -> None:
    """Noise in a body-like cylinder, int16, compressed lightly."""
    rng = np.random.default_rng(0)
    x, y = np.ogrid[-1 : 1 : SHAPE_XYZ[0] * 1j, -1 : 1 : SHAPE_XYZ[1] * 1j]
    body = ((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1)[..., None]
    noise = rng.integers(-150, 250, (*SHAPE_XYZ[:2], 50), np.int16)
    values = np.concatenate(
        [np.where(body, np.roll(noise, k * 37, (0, 1)), np.int16(-1000)) for k in range(SHAPE_XYZ[2] // 50)], axis=2
    )
    nib.save(nib.Nifti1Image(values, np.diag([-SPACING_XYZ[0], -SPACING_XYZ[1], SPACING_XYZ[2], 1])), path)


def worker(scan: Path, counts: list[int], output: Path) -> None:
    torch.manual_seed(0)
    how = (Normalization("window", lower=-325, upper=325),)
    tasks = TaskSet(
        Task(f"task{i}", ("CT",), ("background", *(f"c{k}" for k in range(1, n))), (3, 1.5, 1.5), how)
        for i, n in enumerate(counts)
    )
    model = UniSegModel(
        tasks,
        patch_size=(64, 192, 192),
        encoder=partial(
            UNetEncoder,
            channels=[4, 8, 8, 8],
            strides=[[1, 2, 2], [2, 2, 2], [2, 2, 2]],
            kernels=[[1, 3, 3], *[[3, 3, 3]] * 3],
        ),
        conditioning=partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True),
        head=StaticHead,
    )
    predictor = Predictor(model, InferenceSettings(overlap=0.25, max_memory_gb=MAX_MEMORY_GB, device="cpu"))
    start = time.perf_counter()
    case, images = Case("scan", "scan", (scan,), None), {task.name: (scan,) for task in tasks}
    require_none_refused(list(CaseRunner(predictor, output).run([(case, images)])))
    measured = {
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "seconds": time.perf_counter() - start,
    }
    sys.stdout.write(json.dumps(measured | {"stages": predictor.stopwatch.seconds}) + "\n")


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan, peaks = Path(folder) / "scan.nii.gz", {}
        make_scan(scan)
        for name, counts in CLASSES.items():
            command = [sys.executable, __file__, str(scan), json.dumps(counts), str(Path(folder) / str(len(peaks)))]
            measured = json.loads(
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
            )
            peaks[name] = measured["peak_gb"]
            stages = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in measured["stages"].items())
            record(
                f"peak memory, 512x512x1000 int16, {name}",
                measured["peak_gb"],
                MAX_MEMORY_GB,
                f"GB; anchor: max_memory_gb; {measured['seconds']:.0f} s: {stages}",
            )
        few, many = (peaks[name] for name in list(CLASSES)[1:])
        record("peak memory of 120 against 4 classes", many, few, "GB")


if __name__ == "__main__":
    if len(sys.argv) == 4:  # started by ``main``
        worker(Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
