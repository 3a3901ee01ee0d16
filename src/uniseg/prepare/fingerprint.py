"""What a case looks like: the values that normalisation, the audit, the plan need."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from uniseg.errors import InputError
from uniseg.prepare.preprocess import crop, nonzero_box
from uniseg.scans.volume import Volume
from uniseg.task import Normalization, Task

NUM_SAMPLES = 10_000  # foreground voxels per case, as nnU-Net
MASK_BELOW = 3 / 4  # nnU-Net: normalise inside the mask where cropping leaves less than this of the voxels


@dataclass(frozen=True)
class CaseFingerprint:
    """One case without its voxels.

    Attributes:
        crop_ratio: voxels left by cropping, of all.
        samples: ``[n,M]``, intensities of random foreground voxels; NaN where the case lacks a modality.
        image_hash: of the first modality's voxels, whatever file they came in.
        class_ml: volume of each foreground class.
        placed: whether the header places the scan: False for unit spacing at the origin, the sign of a lost geometry.
        notes: as of ``Volume``.
    """

    crop_ratio: float
    samples: np.ndarray
    image_hash: str
    class_ml: tuple[float, ...]
    placed: bool
    notes: tuple[str, ...] = ()


def measure(volume: Volume, label: np.ndarray, task: Task) -> CaseFingerprint:
    body = (volume.array != 0).any(0)
    ratio = crop(body, nonzero_box(body)).size / body.size
    voxels = np.flatnonzero(label > 0)
    if len(voxels) > NUM_SAMPLES:
        voxels = np.random.default_rng(0).choice(voxels, NUM_SAMPLES, replace=False)
    samples = volume.array.reshape(len(volume.array), -1)[:, voxels].T
    samples = np.where(volume.present, samples, np.nan).astype(np.float32)
    counts = np.bincount(label[label > 0], minlength=task.num_labels)
    voxel_ml = float(np.prod(volume.spacing_mm)) / 1000
    first = volume.array[volume.present.index(True)]
    return CaseFingerprint(
        ratio,
        samples,
        hashlib.sha256(np.ascontiguousarray(first)).hexdigest(),
        tuple(float(counts[list(values)].sum()) * voxel_ml for values in task.class_values),
        placed=_is_placed(volume),
        notes=volume.notes,
    )


def _is_placed(volume: Volume) -> bool:
    ends = np.array([[0, 0, 0, 1], [*(n - 1 for n in volume.array.shape[1:]), 1]])
    corner = (ends @ volume.affine.T)[:, :3].min(0)
    return not (np.allclose(volume.spacing_mm, 1) and np.allclose(corner, 0, atol=1e-3))


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
    known = samples[np.isfinite(samples)].astype(np.float64)
    if not known.size:
        raise InputError("normalization", "no foreground voxel in any training case", "at least one, to take percentiles of", "label one, or use mode: zscore")
    lower, upper = (float(q) for q in np.percentile(known, [0.5, 99.5]))
    return replace(how, lower=lower, upper=upper, mean=float(known.mean()), sd=float(known.std()))
