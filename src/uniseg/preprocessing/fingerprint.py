"""What a case looks like: the values that normalisation, the audit, the plan need."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from uniseg.images.volume import Volume
from uniseg.preprocessing.modality import foreign_kind
from uniseg.preprocessing.preprocess import crop, nonzero_box
from uniseg.task import Task

NUM_SAMPLES = 10_000  # foreground voxels per case


@dataclass(frozen=True)
class CaseFingerprint:
    """One case without its voxels.

    Attributes:
        crop_ratio: voxels left by cropping, of all.
        samples: ``[n,M]``, intensities of foreground voxels drawn with replacement, so that a small target counts as
            much as a large one (nnU-Net's rule); empty without foreground, NaN where the case lacks a modality.
        image_hash: of the first modality's voxels, whatever file they came in.
        class_ml: volume of each foreground class.
        placed: whether the header places the scan: False for unit spacing at the origin, the sign of a lost geometry.
        kinds: per modality CT, MR or PET where the values are of that kind for certain, unlike the modality, else
            empty.
        extent_mm: (z, y, x) of the cropped scan; empty where an earlier version measured.
        notes: as of ``Volume``.

    Examples:
        >>> samples = np.zeros((0, 1), np.float32)
        >>> CaseFingerprint.from_dict(
        ...     {"crop_ratio": 0.5, "samples": samples, "image_hash": "0f", "class_ml": [12.5], "placed": True}
        ... ).class_ml
        (12.5,)
    """

    crop_ratio: float
    samples: np.ndarray
    image_hash: str
    class_ml: tuple[float, ...]
    placed: bool
    kinds: tuple[str, ...] = ()
    extent_mm: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping) -> "CaseFingerprint":
        """As it was written to a file; keys that an earlier version lacks have their defaults.

        Raises:
            KeyError, TypeError, ValueError: other values.
        """
        read = cls(**values)
        numbers = (read.crop_ratio, *read.class_ml, *read.extent_mm)
        if (
            not np.isfinite(np.array(numbers, float)).all()
            or read.samples.ndim != 2
            or read.samples.dtype != np.float32
        ):
            raise ValueError(f"a fingerprint of {numbers}")
        return replace(
            read,
            class_ml=tuple(read.class_ml),
            kinds=tuple(read.kinds),
            extent_mm=tuple(read.extent_mm),
            notes=tuple(str(note) for note in read.notes),
        )


def measure(volume: Volume, label: np.ndarray, task: Task) -> CaseFingerprint:
    body = (volume.array != 0).any(0)
    cropped = crop(body, nonzero_box(body))
    voxels = np.flatnonzero(body if task.is_pretext else label > 0)
    if len(voxels):
        voxels = np.random.default_rng(0).choice(voxels, NUM_SAMPLES)
    samples = volume.array.reshape(len(volume.array), -1)[:, voxels].T
    samples = np.where(volume.present, samples, np.nan).astype(np.float32)
    counts = np.bincount(label[label > 0], minlength=task.num_labels)
    first = volume.array[volume.present.index(True)]
    return CaseFingerprint(
        cropped.size / body.size,
        samples,
        hashlib.sha256(np.ascontiguousarray(first)).hexdigest(),
        tuple(float(counts[list(values)].sum()) * volume.voxel_ml for values in task.class_values),
        placed=_is_placed(volume),
        kinds=tuple(
            foreign_kind(values, stated, modality) if present else ""
            for values, stated, present, modality in zip(
                volume.array, volume.stated, volume.present, task.modalities, strict=True
            )
        ),
        extent_mm=tuple(n * float(mm) for n, mm in zip(cropped.shape, volume.spacing_mm, strict=True)),
        notes=volume.notes,
    )


def _is_placed(volume: Volume) -> bool:
    ends = np.array([[0, 0, 0, 1], [*(n - 1 for n in volume.array.shape[1:]), 1]])
    corner = (ends @ volume.affine.T)[:, :3].min(0)
    return not (np.allclose(volume.spacing_mm, 1) and np.allclose(corner, 0, atol=1e-3))


def resolve(task: Task, cases: Sequence[CaseFingerprint]) -> Task:
    """The task with every normalisation complete, as the training cases say."""
    crop_ratio = float(np.median([case.crop_ratio for case in cases]))
    samples = np.concatenate([case.samples for case in cases])
    wheres = [f"task '{task.name}', modality '{modality}'" for modality in task.modalities]
    return task.resolve(how.resolve(wheres[m], samples[:, m], crop_ratio) for m, how in enumerate(task.normalization))
