"""Seven CT tasks of one scan, files to files: all at once against one task after another with the same warm weights,
mirroring off.

python benchmarks/bench_predict_speed.py --checkpoint <run of the eleven phantom tasks>/checkpoints/last.ckpt [--scan
abdomen.nii.gz] [--published]
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from record import record
from scipy.ndimage import label as components
from scipy.ndimage import zoom
from torch.utils.flop_counter import FlopCounterMode

from uniseg import Predictor, UniSegModel, load_model
from uniseg.datasets.case import Case
from uniseg.inference.case_runner import CaseRunner
from uniseg.inference.predict_files import require_none_refused
from uniseg.inference.settings import InferenceSettings
from uniseg.inference.windows import WindowGrid
from uniseg.models.conditioning.fuse_prompt import FusePrompt
from uniseg.models.encoders.unet import UNetEncoder
from uniseg.models.heads.static import StaticHead
from uniseg.phantom.suite import TASKS as PHANTOMS
from uniseg.phantom.suite import make_case
from uniseg.weights.foreign.published_tasks import published_tasks

SHAPE_ZYX = (192, 384, 384)
NUM_TASKS, REPEATS = 7, 3
STAGES = ("read", "resample", "encode", "decode", "restore", "write")
OPTIONS = {"skip_empty": True, "gate": True}


def make_scan(path: Path) -> Path:
    """A phantom CT of a body that no network was trained on, stretched to ``SHAPE_ZYX`` voxels of its own field of
    view.
    """
    case = make_case(11, [task.name for task in PHANTOMS].index("liver"), 0, shared_style=False)
    values = zoom(case.images[0].astype(np.float32), np.divide(SHAPE_ZYX, case.images[0].shape), order=1)
    scale = np.diag([*np.divide(case.images[0].shape, SHAPE_ZYX), 1])
    nib.save(nib.Nifti1Image(np.rint(values.T).astype(np.int16), (case.affine @ scale)[:, [2, 1, 0, 3]]), path)
    return path


def predict(
    model: UniSegModel, scan: Path, names: list[str], output: Path, *, together: bool, **options
) -> tuple[float, dict[str, float]]:
    """Seconds, by stage too."""
    predictor = Predictor(model, InferenceSettings(max_memory_gb=None, **{"device": "cpu"} | options))
    runner, start = CaseRunner(predictor, output), time.perf_counter()
    for some in [names] if together else [[name] for name in names]:
        require_none_refused(list(runner.run([(Case("scan", "scan", (scan,), None), dict.fromkeys(some, (scan,)))])))
    return time.perf_counter() - start, predictor.stopwatch.seconds


def maps(output: Path, names: list[str]) -> dict[str, np.ndarray]:
    return {name: np.asarray(nib.load(output / name / "scan.nii.gz").dataobj) for name in names}


def dice(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Of every class that either has."""
    return [
        2 * np.count_nonzero((a == k) & (b == k)) / (np.count_nonzero(a == k) + np.count_nonzero(b == k))
        for k in np.union1d(a, b)
        if k
    ]


def compare(title: str, model: UniSegModel, scan: Path, names: list[str], repeats: int, *, optional: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ways = {"apart": {"together": False}, "together": {"together": True}} | (
            {"options": {"together": True, **OPTIONS}} if optional else {}
        )
        runs = {way: [] for way in ways}
        for repeat in range(repeats):
            for way, how in ways.items():
                runs[way].append(predict(model, scan, names, Path(folder) / f"{way}{repeat}", **how))
        median = {way: statistics.median(seconds for seconds, _ in own) for way, own in runs.items()}
        stages = {
            way: ", ".join(f"{s} {statistics.median(by[s] for _, by in own):.2f}" for s in STAGES)
            for way, own in runs.items()
        }
        found = {way: maps(Path(folder) / f"{way}0", names) for way in ways}
    same = [value for name in names for value in dice(found["apart"][name], found["together"][name])]
    unit = f"s, median of {repeats}; anchor: one task after another"
    record(
        f"{title}, seven tasks at once",
        median["together"],
        median["apart"],
        f"{unit}; ours: {stages['together']}; anchor: {stages['apart']}",
    )
    record(
        f"{title}, seven tasks at once, least Dice to one after another",
        min(same),
        None,
        f"over {len(same)} classes found",
    )
    if not optional:
        return
    kept = [value for name in names for value in dice(found["together"][name], found["options"][name])]
    lost, total, voxels = missed(found["together"], found["options"])
    record(
        f"{title}, seven tasks at once, skip_empty and gate",
        median["options"],
        median["apart"],
        f"{unit}; ours: {stages['options']}",
    )
    what = (
        f"components lost whole of {total}; {voxels:.3%} of foreground voxels; "
        f"least Dice {min(kept):.4f}, mean {np.mean(kept):.4f} over {len(kept)} classes"
    )
    record(f"{title}, skip_empty and gate, misses", lost, None, what)


def missed(whole: dict[str, np.ndarray], gated: dict[str, np.ndarray]) -> tuple[int, int, float]:
    """Components of the full prediction of which nothing is left, how many there are, share of its foreground that is
    gone.
    """
    lost = total = gone = foreground = 0
    for name, own in whole.items():
        parts, count = components(own > 0, np.ones((3, 3, 3)))
        kept = np.unique(parts[(gated[name] > 0) & (parts > 0)])
        lost, total = lost + count - len(kept), total + count
        gone, foreground = gone + np.count_nonzero((own > 0) & (gated[name] == 0)), foreground + np.count_nonzero(own)
    return lost, total, gone / max(1, foreground)


@torch.inference_mode()
def floor(title: str, model: UniSegModel, size: tuple[int, int, int], repeats: int = 3) -> None:
    """Operations of the network on ``size`` voxels at the task's spacing, over the rate that its own kind of
    convolution reaches here.
    """
    window = torch.zeros(1, 1, *model.patch_size)
    with FlopCounterMode(display=False) as encoding:
        encoded = model.encode(window, torch.tensor([0]))
    with FlopCounterMode(display=False) as decoding:
        model.finest(encoded, 0)
    num_windows = int(np.prod([len(WindowGrid(size, tuple(model.patch_size), 0.5).starts(axis)) for axis in range(3)]))
    shared, apart = (
        num_windows * flops
        for flops in (
            encoding.get_total_flops() + NUM_TASKS * decoding.get_total_flops(),
            NUM_TASKS * (encoding.get_total_flops() + decoding.get_total_flops()),
        )
    )
    conv, image = torch.nn.Conv3d(64, 64, 3, padding=1), torch.randn(1, 64, 32, 96, 96)
    conv(image)
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        conv(image)
        rates.append(2 * 64 * 64 * 27 * image[0, 0].numel() / (time.perf_counter() - start))
    rate = statistics.median(rates)
    unit = (
        f"s; {num_windows} windows, {shared / 1e9:.0f} against {apart / 1e9:.0f} GFLOP "
        f"at {rate / 1e9:.0f} GFLOP/s, a 64-channel convolution"
    )
    record(f"{title}, floor of the network", shared / rate, apart / rate, unit)


def size_at(scan: Path, spacing_mm: tuple[float, ...]) -> tuple[int, int, int]:
    image = nib.as_closest_canonical(nib.load(scan))
    sizes = np.array(image.shape[::-1]) * image.header.get_zooms()[::-1] / spacing_mm
    return tuple(np.rint(sizes).astype(int).tolist())


def published(folder: Path) -> None:
    """Four windows, random weights."""
    torch.manual_seed(0)
    tasks = published_tasks()
    model = UniSegModel(
        tasks,
        patch_size=(64, 192, 192),
        encoder=partial(
            UNetEncoder,
            channels=[32, 64, 128, 256, 320, 320],
            strides=[[1, 2, 2], *[[2, 2, 2]] * 4],
            kernels=[[1, 3, 3], *[[3, 3, 3]] * 5],
        ),
        conditioning=partial(FusePrompt, hidden_channels=None, learned=True, place="bottleneck", fuse=True),
        head=StaticHead,
    ).eval()
    names = [task.name for task in tasks if task.modalities == ("CT",)][:NUM_TASKS]
    spacing = model.tasks[0].spacing_mm
    scan = folder / "four.nii.gz"
    values = np.random.default_rng(0).integers(-200, 200, (288, 288, 64)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([-spacing[2], -spacing[1], spacing[0], 1])), scan)
    compare(
        "prediction of four windows of 64x192x192, published width, random weights",
        model,
        scan,
        names,
        1,
        optional=False,
    )
    floor("prediction of four windows of 64x192x192, published width", model, (64, 288, 288))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--published", action="store_true")
    given = parser.parse_args()
    model = load_model(given.checkpoint)
    names = [task.name for task in model.tasks if task.modalities == ("CT",)][:NUM_TASKS]
    with tempfile.TemporaryDirectory() as folder:
        scans = {"prediction of a phantom of 192x384x384": make_scan(Path(folder) / "phantom.nii.gz")}
        if given.scan:
            scans["prediction of a real abdominal CT"] = given.scan
        for title, scan in scans.items():
            compare(title, model, scan, names, REPEATS, optional=True)
            floor(title, model, size_at(scan, model.tasks[0].spacing_mm))
        if given.published:
            published(Path(folder))


if __name__ == "__main__":
    main()
