"""Preparation of three real datasets, cases per minute with peak memory, against nnU-Net v2; then their images voxel by
voxel.

Ours: audit with ``prepare``; nnU-Net: verify_dataset_integrity, fingerprint, preprocessing of 3d_fullres at the same
spacing, the same number of worker processes. Files are in the page cache, workers have started. Memory is the
proportional set size of the process tree, sampled.

    python -m venv nnunet_env && nnunet_env/bin/pip install torch==2.13.0 nnunetv2==2.8.1
    python benchmarks/bench_prepare.py --nnunet-python nnunet_env/bin/python --data <folder of nnU-Net datasets>
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import blosc2
import nibabel as nib
import numpy as np
import torch
from joblib import Parallel, delayed
from nibabel import orientations as ornt
from omegaconf import OmegaConf
from record import record

from uniseg.cache.build import audit, prepare
from uniseg.datasets.case import find_cases
from uniseg.datasets.labels import load_case
from uniseg.datasets.source import Source
from uniseg.environment import CONF_DIR
from uniseg.images.files import CANONICAL
from uniseg.preprocessing.preprocess import crop, preprocess
from uniseg.preprocessing.resample import resample_label
from uniseg.task import Normalization, Task, TaskSet

# folder, task file
DATASETS = {"chaos_t2_abdomen": "chaos_t2", "sts_ct": "sts_ct", "la2018_left_atrium": "left_atrium"}
SAMPLE_S = 0.05


def task_of(folder: str, data: Path) -> tuple[Task, Source]:
    """The task file with nnU-Net's own normalisation scheme; no case is for test, because nnU-Net prepares all."""
    block = OmegaConf.load(CONF_DIR / "task" / f"{DATASETS[folder]}.yaml")
    scheme = Normalization("fingerprint" if block.modalities[0] == "CT" else "zscore")
    task = Task(
        folder,
        tuple(block.modalities),
        tuple(block.classes),
        tuple(block.spacing_mm),
        (scheme,) * len(block.modalities),
    )
    source = Source("nnunet", data / folder, patient_namespace=folder)
    names = [case.case_id for case in find_cases(source, task.modalities)]
    return task, replace(source, splits={"train": names[1:], "val": names[:1], "test": []})


def run_ours(folder: str, data: Path, cache_dir: Path, processes: int) -> None:
    task, source = task_of(folder, data)
    Parallel(n_jobs=processes)(delayed(time.sleep)(0.5) for _ in range(processes))
    Parallel(n_jobs=processes)(delayed(find_cases)(source, task.modalities) for _ in range(2 * processes))
    start = time.perf_counter()
    datasets = audit(TaskSet([task]), {folder: source}, processes, cache_dir)
    checked = time.perf_counter() - start
    start = time.perf_counter()
    prepare(datasets, cache_dir, processes)
    sys.stdout.write("\n" + json.dumps({"check": checked, "write": time.perf_counter() - start}))


def run_measured(words: list, environment: dict[str, str]) -> dict[str, float]:
    """A command's JSON with the peak memory of its process tree in MB."""
    peak = 0
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([str(word) for word in words], stdout=out, env=os.environ | environment)
        while process.poll() is None:
            peak = max(peak, sum(proportional_kb(pid) for pid in tree(process.pid)))
            time.sleep(SAMPLE_S)
        out.seek(0)
        lines = out.read().splitlines()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return json.loads(lines[-1]) | {"memory_mb": peak / 1024}


def tree(root: int) -> list[int]:
    """A process with all that descend from it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def proportional_kb(pid: int) -> int:
    try:
        return int(
            next(
                line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")
            ).split()[1]
        )
    except (OSError, StopIteration):
        return 0


def largest_differences(folder: str, data: Path, written: Path) -> tuple[float, float]:
    """Of the images, of each case's own range; of the labels, the fraction of voxels.

    Both sides with nnU-Net's resolved normalisation.
    """
    task, source = task_of(folder, data)
    plans = json.loads((written / "nnUNetPlans.json").read_text())
    found = plans["foreground_intensity_properties_per_channel"]["0"]
    masked = plans["configurations"]["3d_fullres"]["use_mask_for_norm"][0]
    values = {
        "lower": found["percentile_00_5"],
        "upper": found["percentile_99_5"],
        "mean": found["mean"],
        "sd": found["std"],
        "masked": masked,
    }
    task = task.resolve([Normalization(task.normalization[0].mode, **values)])
    image_apart = label_apart = 0.0
    for case in find_cases(source, task.modalities):
        volume, label = load_case(task, source, case)
        prepared = preprocess(volume, task)
        small = resample_label(crop(label, prepared.box), volume.spacing_mm, task.spacing_mm)
        theirs = _canonical(written / "nnUNetPlans_3d_fullres" / f"{case.case_id}.b2nd", case.image_paths[0])
        their_label = _canonical(written / "nnUNetPlans_3d_fullres" / f"{case.case_id}_seg.b2nd", case.image_paths[0])
        apart = np.abs(prepared.image[0].astype(np.float16).astype(np.float32) - theirs).max() / np.ptp(theirs)
        image_apart, label_apart = (
            max(image_apart, float(apart)),
            max(label_apart, float(np.mean(small != their_label.clip(0)))),
        )
    return image_apart, label_apart


def _canonical(path: Path, like: Path) -> np.ndarray:
    """nnU-Net's ``[1,k,j,i]`` -> ``[Z,Y,X]``."""
    turn = ornt.ornt_transform(ornt.io_orientation(nib.load(like).affine), CANONICAL)
    return ornt.apply_orientation(blosc2.open(str(path), mode="r")[0].T, turn).T


def spacing_in_file_order(task: Task, like: Path) -> list[float]:
    """The task's (z, y, x) as nnU-Net names the axes: k, j, i of the file."""
    turn = ornt.ornt_transform(ornt.io_orientation(nib.load(like).affine), CANONICAL)
    return [task.spacing_mm[::-1][int(axis)] for axis in turn[:, 0]][::-1]


def compare(folder: str, number: int, options: argparse.Namespace, temporary: Path) -> None:
    task, source = task_of(folder, options.data)
    cases = find_cases(source, task.modalities)
    for path in (path for case in cases for path in (*case.image_paths, case.label_path)):
        path.read_bytes()
    raw, written = (
        temporary / "raw" / f"Dataset{number:03d}_{folder}",
        temporary / "preprocessed" / f"Dataset{number:03d}_{folder}",
    )
    raw.parent.mkdir(exist_ok=True)
    raw.symlink_to(source.root.resolve())
    folders = {"nnUNet_raw": raw.parent, "nnUNet_preprocessed": written.parent, "nnUNet_results": temporary / "results"}
    threads = {"OMP_NUM_THREADS": "1"}
    mine = [
        sys.executable,
        __file__,
        "--ours",
        folder,
        "--data",
        options.data,
        "--cache",
        temporary / "cache",
        "--processes",
        options.processes,
    ]
    ours = run_measured(mine, threads)
    script = Path(__file__).with_name("anchor_prepare.py")
    spacing = spacing_in_file_order(task, cases[0].image_paths[0])
    anchor = run_measured(
        [options.nnunet_python, script, number, options.processes, *spacing],
        threads | {k: str(v) for k, v in folders.items()},
    )
    name = f"preparation of {folder} ({len(cases)} cases, {options.processes} processes)"
    rates = [60 * len(cases) / (side["check"] + side["write"]) for side in (ours, anchor)]
    record(f"{name}, all", *rates, "cases/min", more_is_better=True)
    for step, what in (("check", "audit with fingerprint"), ("write", "arrays")):
        record(f"{name}, {what}", ours[step], anchor[step], "s")
    record(f"{name}, peak memory", ours["memory_mb"], anchor["memory_mb"], "MB")
    image, label = largest_differences(folder, options.data, written)
    record(f"{name}, largest difference of a voxel", 100 * image, None, "% of the image's range, to nnU-Net's")
    record(f"{name}, labels that differ", 100 * label, None, "% of voxels in the worst case, to nnU-Net's")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"holds {', '.join(DATASETS)}")
    parser.add_argument("--nnunet-python", type=Path, help="python of an environment with nnunetv2==2.8.1")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", choices=DATASETS, help="one of the datasets")
    parser.add_argument("--ours", choices=DATASETS, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.ours:
        run_ours(options.ours, options.data, options.cache, options.processes)
        return
    with tempfile.TemporaryDirectory() as temporary:
        for number, folder in enumerate(DATASETS, start=1):
            if options.only in (None, folder):
                compare(folder, number, options, Path(temporary))


if __name__ == "__main__":
    main()
