"""CPU time of a prediction by onnxruntime beside PyTorch's: the same scan, task, windows and number of threads.

python benchmarks/bench_onnx.py            the network of model=uniseg_small; --published for that of the paper
"""

import argparse
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from record import record

from uniseg import InferenceSettings, Normalization, Predictor, Task, UniSegModel, read_volume
from uniseg.artefacts import uniseg_onnx
from uniseg.artefacts.graphs import save_onnx

SHAPE, SPACING = (160, 160, 80), (2.0, 2.0, 3.0)  # x, y, z
REPEATS = 3


def seconds(work) -> float:
    """The fastest of some, after one to warm up."""
    times = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", action="store_true", help="the network of the paper")
    preset = "uniseg_published" if parser.parse_args().published else "uniseg_small"
    how = Normalization("window", lower=-325, upper=325)
    task = Task("liver", ("CT",), ("background", "liver"), tuple(reversed(SPACING)), (how,))
    model = UniSegModel.from_preset(preset, [task], patch_size=(64, 96, 96)).eval()
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.nii.gz"
        values = np.random.default_rng(0).normal(0, 300, SHAPE).astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.diag([*SPACING, 1])), scan)
        save_onnx([model], Path(folder) / "graphs")
        predictor = Predictor(model, InferenceSettings(device="cpu"))
        theirs = seconds(lambda: uniseg_onnx.predict("liver", [scan], scan.with_name("a.nii"), Path(folder) / "graphs"))
        ours = seconds(lambda: predictor.predict(read_volume(scan), ["liver"]))
    record(f"prediction of one task by onnxruntime, {preset}, {torch.get_num_threads()} threads", theirs, ours, "s")


if __name__ == "__main__":
    main()
