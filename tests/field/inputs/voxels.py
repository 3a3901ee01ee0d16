"""Scans with odd voxels: too few, all alike, none at all, of other types; files that are not what their ending says."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from field.inputs.balls import affine, ball, save

SLOPE = slice(112, 116)  # bytes of scl_slope in a NIfTI header
# File -> a word of the line that refuses it.
UNLIKE = (("renamed.nii.gz", "rename"), ("packed.nii", "rename"), ("pointer.nii.gz", ""), ("UPPER.NII", ""))
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def write_readable(folder: Path) -> Path:
    """Odd, and for somebody a scan."""
    image, _ = ball()
    arrays = {
        "singleton4d": image[..., None],
        "slice_z": image[:, :, :1],
        "slice_x": image[4:5],
        "one_voxel": image[4:5, 4:5, 4:5],
        "constant": np.full_like(image, 40),
        "zero": np.zeros_like(image),
        "uint64": (image - image.min()).astype(np.uint64),
        "float64": image.astype(np.float64),
        "uint8": (image - image.min()).astype(np.uint8),
        "thin": image[:3, :3],
    }
    for name, array in arrays.items():
        save(folder / f"{name}.nii.gz", array)
    return folder


def write_unlike_their_ending(folder: Path) -> dict[str, Path]:
    plain = save(folder / "plain/scan.nii", ball()[0]).read_bytes()
    content = {
        "renamed.nii.gz": plain,
        "packed.nii": gzip.compress(plain),
        "UPPER.NII": plain,
        "pointer.nii.gz": POINTER.encode(),
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in content}


def write_slopes(folder: Path) -> dict[str, Path]:
    """``scl_slope`` of 0 means that values are not scaled, by the standard; NaN means nothing."""
    content = save(folder / "slope_1.nii", ball()[0]).read_bytes()
    paths = {}
    for slope in (0.0, np.nan):
        damaged = bytearray(content)
        damaged[SLOPE] = np.float32(slope).tobytes()
        paths[f"{slope:g}"] = folder / f"slope_{slope:g}.nii"
        paths[f"{slope:g}"].write_bytes(damaged)
    return paths


def write_unreadable(folder: Path) -> dict[str, Path]:
    """No scan for a task of one modality."""
    image, _ = ball()
    holed = image.astype(np.float32)
    holed[0] = np.nan
    paths = {
        "series4d": save(folder / "series4d.nii.gz", np.stack([image] * 3, -1)),
        "flat2d": save(folder / "flat2d.nii.gz", image[:, :, 0]),
        "nan": save(folder / "nan.nii.gz", holed),
        "rgb": folder / "rgb.nii.gz",
    }
    colours = np.zeros(image.shape, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(colours, affine()), paths["rgb"])
    return paths
