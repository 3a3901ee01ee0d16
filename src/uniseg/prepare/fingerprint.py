"""What the data look like: the values that normalisation needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from uniseg.prepare.preprocess import crop, nonzero_box
from uniseg.scans.volume import Volume
from uniseg.task import Normalization, Task

NUM_SAMPLES = 10_000  # foreground voxels per case, as nnU-Net
MASK_BELOW = 3 / 4  # nnU-Net: normalise inside the mask where cropping leaves less than this of the voxels


@dataclass(frozen=True)
class CaseFingerprint:
    """``crop_ratio``: voxels left by cropping, of all; ``samples [n,M]``: intensities of random foreground voxels."""

    crop_ratio: float
    samples: np.ndarray


def measure(volume: Volume, label: np.ndarray) -> CaseFingerprint:
    body = (volume.array != 0).any(0)
    ratio = crop(body, nonzero_box(body)).size / body.size
    voxels = np.flatnonzero(label > 0)
    if len(voxels) > NUM_SAMPLES:
        voxels = np.random.default_rng(0).choice(voxels, NUM_SAMPLES, replace=False)
    return CaseFingerprint(ratio, volume.array.reshape(len(volume.array), -1)[:, voxels].T)


def resolve(task: Task, cases: Sequence[CaseFingerprint]) -> Task:
    """The task with every normalisation complete (nnU-Net's rules: 0.5 and 99.5 percentile, mean and sd of the foreground)."""
    masked = float(np.median([case.crop_ratio for case in cases])) < MASK_BELOW
    samples = np.concatenate([case.samples for case in cases])
    return task.resolve(_resolve(n, masked, samples[:, m]) for m, n in enumerate(task.normalization))


def _resolve(how: Normalization, masked: bool, samples: np.ndarray) -> Normalization:
    if how.resolved:
        return how
    if how.mode == "zscore":
        return replace(how, masked=masked)
    lower, upper = (float(q) for q in np.percentile(samples, [0.5, 99.5]))
    return replace(how, lower=lower, upper=upper, mean=float(samples.mean()), sd=float(samples.std()))
