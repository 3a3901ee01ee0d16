"""Datasets in nnU-Net's layout whose training goes wrong elsewhere."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np

from field.inputs.balls import affine, ball, save, write_dataset

NUMBER = 8
KINDS = (  # of label files that hold the same numbers
    lambda label: label.astype(np.uint64),
    lambda label: label.astype(np.float64),
    lambda label: label * np.float32(0.9999),
    lambda label: label.astype(np.int8),
    lambda label: label[..., None],
    lambda label: label.astype(np.uint16),
    lambda label: label.astype(np.float32),
    lambda label: label.astype(np.int64),
)
SMALL = (6, 7, 5)  # below any patch
SEEDS_APART = 1000


def write_gaps(root: Path, seed: int = 0) -> Path:
    """BraTS's label values."""
    return write_dataset(
        root, values=(1, 2, 4), first_seed=seed, labels={"background": 0, "core": 1, "oedema": 2, "enhancing": 4}
    )


def write_amos(root: Path, seed: int = 0) -> Path:
    """Four digits without a channel behind them; one more image has no label."""
    write_dataset(root, names="amos_{:04d}", is_suffixed=False, first_seed=seed)
    save(root / "imagesTr/amos_0600.nii.gz", ball(seed + 99)[0])
    return root


def write_empty(root: Path) -> Path:
    write_dataset(root)
    for path in (root / "labelsTr").iterdir():
        save(path, np.zeros_like(ball()[1]))
    return root


def write_mixed(root: Path, seed: int = 0) -> Path:
    """The last two scans of a CT set are MR."""
    write_dataset(root, first_seed=seed)
    for k in (NUMBER - 2, NUMBER - 1):
        save(root / f"imagesTr/case_{k:03d}_0000.nii.gz", ball(seed + k, ct=False)[0])
    return root


def write_ignored(root: Path, seed: int = 0) -> Path:
    """One plane is annotated."""
    write_dataset(root, labels={"background": 0, "liver": 1, "ignore": 2}, first_seed=seed)
    for k in range(NUMBER):
        whole = ball(seed + k)[1]
        label = np.full_like(whole, 2)
        label[:, :, 10] = whole[:, :, 10]
        save(root / f"labelsTr/case_{k:03d}.nii.gz", label)
    return root


def write_floats(root: Path, seed: int = 0) -> Path:
    """Every label file of another type."""
    write_dataset(root, first_seed=seed)
    for k, kind in enumerate(KINDS):
        label = kind(ball(seed + k)[1])
        nib.save(nib.Nifti1Image(label, affine(), dtype=label.dtype), root / f"labelsTr/case_{k:03d}.nii.gz")
    return root


def write_ends(root: Path, seed: int = 0) -> Path:
    """Labels end as channels do."""
    return write_dataset(root, names="scan_{:04d}", first_seed=seed)


def write_small(root: Path, seed: int = 0) -> Path:
    write_dataset(root)
    for k in range(NUMBER):
        image, label = ball(seed + k, (*SMALL[:2], 1) if k == 0 else SMALL)
        save(root / f"imagesTr/case_{k:03d}_0000.nii.gz", image)
        save(root / f"labelsTr/case_{k:03d}.nii.gz", label)
    return root


def write_regions(root: Path, seed: int = 0) -> Path:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3], "ignore": 4}
    return write_dataset(
        root, values=(1, 2, 3), channels=("T1", "FLAIR"), labels=labels, regions_class_order=[1, 2, 3], first_seed=seed
    )


def write_singletons(root: Path, seed: int = 0) -> Path:
    """(x, y, z, 1), as ANTs and dcm2niix write."""
    write_dataset(root, channels=("T1", "FLAIR"), first_seed=seed)
    for path in (*(root / "imagesTr").iterdir(), *(root / "labelsTr").iterdir()):
        save(path, np.asarray(nib.load(path).dataobj)[..., None])
    return root


def write_twin(root: Path, original: Path) -> Path:
    """Another set in which one scan of ``original``, in training there, is for test here."""
    write_dataset(root, names="own_{:03d}", first_seed=50)
    for part in ("imagesTs", "labelsTs"):
        (root / part).mkdir()
    shutil.copy(original / "imagesTr/case_000_0000.nii.gz", root / "imagesTs/other_000_0000.nii.gz")
    shutil.copy(original / "labelsTr/case_000.nii.gz", root / "labelsTs/other_000.nii.gz")
    return root


SETS = {
    "Dataset902_Gaps": write_gaps,
    "Dataset903_Amos": write_amos,
    "Dataset905_Mixed": write_mixed,
    "Dataset906_Ignored": write_ignored,
    "Dataset907_Floats": write_floats,
    "Dataset908_Ends": write_ends,
    "Dataset909_Small": write_small,
    "Dataset910_Regions": write_regions,
    "Dataset911_Singletons": write_singletons,
}  # each trains


def write_sets(folder: Path) -> Path:
    for number, (name, write) in enumerate(SETS.items()):
        write(folder / name, seed=SEEDS_APART * number)  # no scan is in two sets
    return folder
