"""What preparation or training would take, tried on one case or one step."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from uniseg.cache.build import prepare
from uniseg.cache.store import TaskCache
from uniseg.datasets.dataset import Dataset
from uniseg.datasets.labels import load_case
from uniseg.planning.geometry import TaskGeometry
from uniseg.planning.step_cost import Recipe, count_operations, measure_step, model_bytes
from uniseg.planning.topology import Topology
from uniseg.preprocessing.fingerprint import measure
from uniseg.task import Task

NUM_TRIES = 5  # cases of a task, for one with foreground
LONGEST_S = 60.0  # a step that takes more is scaled from a smaller one
LARGEST_BYTES = 4e9  # likewise, of memory on a CPU


@dataclass(frozen=True)
class CaseTrial:
    """One case prepared on one core.

    Attributes:
        kept: fraction of the voxels that cropping leaves, per axis.
        bytes_per_voxel: of the cache, compressed.
        seconds_per_voxel: of the scan, with its audit.

    Examples:
        >>> CaseTrial(kept=(1, 0.5, 0.5), bytes_per_voxel=1.2, seconds_per_voxel=1e-7).bytes_per_voxel
        1.2
    """

    kept: tuple[float, float, float]
    bytes_per_voxel: float
    seconds_per_voxel: float


@dataclass(frozen=True)
class StepTrial:
    """Seconds of one training step with the way they were found.

    Examples:
        >>> StepTrial(0.4, "measured").seconds
        0.4
    """

    seconds: float
    how: str


def try_case(dataset: Dataset, task: Task, geometry: TaskGeometry) -> CaseTrial:
    """The case of median size goes into a cache that is deleted at once; one without foreground, of which little can be
    measured, gives way to the next.

    Raises:
        InputError: that case cannot be read, or ``NUM_TRIES`` cases leave a normalisation without foreground.
    """
    shapes = geometry.at(task.spacing_mm)
    by_size, middle = np.argsort(shapes.prod(1)), len(shapes) // 2
    with tempfile.TemporaryDirectory() as folder, _one_core():
        for chosen in sorted(range(len(shapes)), key=lambda rank: abs(rank - middle))[:NUM_TRIES]:
            index, start = int(by_size[chosen]), time.perf_counter()
            case_id = geometry.case_ids[index]
            fingerprint = measure(*load_case(task, dataset.source, dataset.cases[case_id]), task)
            if len(fingerprint.samples):
                break
        splits = replace(
            dataset.splits, test=(), folds=((),), rest=(case_id,), patients={case_id: dataset.splits.patients[case_id]}
        )
        prepare(
            [replace(dataset, task=task, splits=splits, fingerprints={case_id: fingerprint})],
            Path(folder),
            num_workers=1,
            title=f"{task.name}: one case, tried",
        )
        seconds = time.perf_counter() - start
        cache = TaskCache(Path(folder) / task.name)
        shape = np.array(cache.entries[case_id].shape)
        size = sum(path.stat().st_size for path in (cache.folder / case_id).rglob("*") if path.is_file())
    kept = tuple(float(k) for k in shape / shapes[index])
    return CaseTrial(kept, size / shape.prod(), seconds / geometry.shapes[index].prod())


def try_step(recipe: Recipe, topology: Topology, batch_size: int) -> StepTrial:
    """On the GPU at the planned patch; on a CPU too where that takes less than a minute, else scaled by operations from
    half the patch, one sample.
    """
    if torch.cuda.is_available():
        seconds = measure_step(recipe, topology, batch_size, torch.device("cuda")).seconds
        return StepTrial(seconds, f"measured on {torch.cuda.get_device_name()}")
    cores, cpu = torch.get_num_threads(), torch.device("cpu")
    half = tuple(max(n // (2 * d), 1) * d for n, d in zip(topology.patch_size, topology.divisor, strict=True))
    small = replace(topology, patch_size=half)
    ratio = count_operations(recipe, topology, batch_size).step / count_operations(recipe, small, 1).step
    seconds = measure_step(recipe, small, 1, cpu).seconds * ratio
    if (
        seconds <= LONGEST_S
        and model_bytes(replace(recipe, precision="32-true"), topology, batch_size).saved <= LARGEST_BYTES
    ):
        return StepTrial(
            measure_step(recipe, topology, batch_size, cpu, num_steps=1).seconds,
            f"measured on {cores} CPU cores in float32",
        )
    size = "x".join(str(n) for n in half)
    return StepTrial(seconds, f"measured at {size}, batch 1, on {cores} CPU cores in float32, scaled by operations")


@contextmanager
def _one_core() -> Iterator[None]:
    """PyTorch computes as in one of many worker processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
