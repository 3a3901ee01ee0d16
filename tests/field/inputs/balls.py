"""A phantom of one thought: a bright ball in noise, as image and label, alone or as a dataset of nnU-Net's."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (24, 28, 20)  # i, j, k
SPACING_MM = (2.0, 2.0, 3.0)
ORIGIN_MM = (-30.0, -20.0, 10.0)
TISSUE_HU, AIR_HU = 40, -1000


def ball(
    seed: int = 0, shape: Sequence[int] = SHAPE, *, ct: bool = True, values: Sequence[int] = (1,)
) -> tuple[np.ndarray, np.ndarray]:
    """Image int16 and label uint8, indices (i, j, k); one ball per label value, each brighter. CT lies beside air."""
    rng = np.random.default_rng(seed)
    image = rng.normal(TISSUE_HU, 12, shape) if ct else rng.normal(300, 40, shape)
    label = np.zeros(shape, np.uint8)
    for number, value in enumerate(values, start=1):
        centre = np.multiply(shape, 0.3 + 0.4 * number / (len(values) + 1)) + rng.uniform(-1, 1, 3)
        far = sum((axis - middle) ** 2 for axis, middle in zip(np.ogrid[tuple(map(slice, shape))], centre, strict=True))
        inside = far < (min(shape) / 5) ** 2
        label[inside] = value
        image[inside] += 80 + 40 * number
    if ct:
        image[:2] = AIR_HU
    return image.astype(np.int16), label


def affine(spacing_mm: Sequence[float] = SPACING_MM, origin_mm: Sequence[float] = ORIGIN_MM) -> np.ndarray:
    matrix = np.diag([*spacing_mm, 1.0])
    matrix[:3, 3] = origin_mm
    return matrix


def save(path: Path, array: np.ndarray, matrix: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine() if matrix is None else matrix, dtype=array.dtype), path)
    return path


def write_dataset(
    root: Path,
    number: int = 8,
    *,
    values: Sequence[int] = (1,),
    names: str = "case_{:03d}",
    channels: Sequence[str] = ("CT",),
    labels: Mapping | None = None,
    is_suffixed: bool = True,
    first_seed: int = 0,
    **description: object,
) -> Path:
    """``imagesTr``, ``labelsTr``, ``dataset.json``; more of ``description`` goes into the last."""
    for k in range(number):
        image, label = ball(first_seed + k, values=values)
        name = names.format(k)
        for channel in range(len(channels)):
            save(root / f"imagesTr/{name}{f'_{channel:04d}' if is_suffixed else ''}.nii.gz", image)
        save(root / f"labelsTr/{name}.nii.gz", label)
    described = {
        "channel_names": {str(channel): name for channel, name in enumerate(channels)},
        "labels": labels or {"background": 0, **{f"part{value}": value for value in values}},
        "numTraining": number,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(described | description, indent=1))
    return root


def read(path: Path) -> np.ndarray:
    """The voxels as the file has them."""
    return np.asarray(nib.load(path).dataobj)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Of what is not 0."""
    return 2 * np.count_nonzero((a > 0) & (b > 0)) / (np.count_nonzero(a) + np.count_nonzero(b))
