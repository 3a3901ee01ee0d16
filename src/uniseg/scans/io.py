"""Files in, label maps out: the only place that converts axis order."""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations as ornt

from uniseg.errors import InputError
from uniseg.scans.case import Case
from uniseg.scans.volume import Volume

CANONICAL = ornt.axcodes2ornt(("L", "P", "S"))
ENDINGS = (".nii.gz", ".nii")
GEOMETRY_TOLERANCE = 1e-3  # of a voxel's size, for affines that should be equal
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError)


def read_volume(paths: Sequence[Path], reference=None) -> Volume:
    """One image per modality, all on one grid, as ``[M,Z,Y,X]`` float32. A single 4-D file holds all modalities.

    Raises:
        InputError: a file is missing, unreadable, not 3-D, holds NaN or infinity, has no usable spacing, or lies on another grid.
    """
    arrays, first = [], None
    for path in paths:
        image = _load(path)
        values = _voxels(image, path)
        if not np.isfinite(values).all():
            raise InputError(path, f"{np.count_nonzero(~np.isfinite(values))} voxels of NaN or infinity", "finite intensities", "repair the file")
        if first is None:
            first = image
        _same_grid(image, first, path, paths[0])
        arrays.append(_to_canonical(values, image))
    array = np.concatenate(arrays) if arrays[0].ndim == 4 else np.stack(arrays)
    return Volume(array, *_geometry(first))


def read_label(path: Path, like: Sequence[Path]) -> np.ndarray:
    """A label map ``[Z,Y,X]`` int16 on the grid of the image files ``like``.

    Raises:
        InputError: missing, unreadable, not whole numbers, or on another grid than the image.
    """
    image = _load(path)
    _same_grid(image, _load(like[0]), path, like[0])
    values = _voxels(image, path)
    whole = np.rint(values)
    if values.ndim != 3 or not np.isfinite(values).all() or np.abs(values - whole).max(initial=0) > 1e-3 or np.abs(whole).max(initial=0) > 32767:
        raise InputError(path, "values that are not whole numbers in three dimensions", "a label map", "give the label file")
    return _to_canonical(whole.astype(np.int16), image)


def read_geometry(path: Path) -> Volume:
    """Shape, spacing and affine from the header alone; the array is empty memory of the right shape."""
    image = _load(path)
    shape = _to_canonical(np.broadcast_to(np.int8(0), image.shape[:3]), image).shape
    return Volume(np.broadcast_to(np.int8(0), (1, *shape)), *_geometry(image))


def write_label_map(label: np.ndarray, like: Path, path: Path) -> None:
    """Write ``[Z,Y,X]`` in the canonical orientation as a NIfTI in the own grid of the scan ``like``; appears whole or not at all."""
    reference = _load(like)
    back = ornt.ornt_transform(CANONICAL, ornt.io_orientation(reference.affine))
    values = ornt.apply_orientation(label.transpose(2, 1, 0), back)
    dtype = np.uint8 if values.max(initial=0) < 256 else np.int16
    image = nib.Nifti1Image(np.ascontiguousarray(values, dtype=dtype), reference.affine)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part{os.getpid()}_{path.name}")
    nib.save(image, part)
    os.replace(part, path)


def case_id_of(path: Path) -> str | None:
    """File name without a known ending, or None where the ending is not one of an image."""
    return next((path.name.removesuffix(e) for e in ENDINGS if path.name.endswith(e) and not path.name.startswith(".")), None)


def check_grid(case: Case) -> None:
    """Headers only: every file of a case lies on the grid of its first image.

    Raises:
        InputError: as ``read_volume``.
    """
    first = _load(case.image_paths[0])
    for path in (*case.image_paths[1:], *([case.label_path] if case.label_path else [])):
        _same_grid(_load(path), first, path, case.image_paths[0])


def _load(path: Path) -> nib.Nifti1Image:
    if case_id_of(path) is None:
        raise InputError(path, "an unknown file ending", f"one of {', '.join(ENDINGS)}", "convert the file")
    if not path.is_file():
        raise InputError(path, "no such file", "an image", "check the path")
    try:
        image = nib.load(path)
    except UNREADABLE as error:
        raise InputError(path, _reason(error), "a readable NIfTI file", "restore the file") from error
    spacing = np.linalg.norm(image.affine[:3, :3], axis=0)
    if image.ndim not in (3, 4) or 0 in image.shape:
        raise InputError(path, f"shape {image.shape}", "three dimensions (or four, modalities last)", "give one volume per file")
    if not np.isfinite(image.affine).all() or (spacing < 1e-6).any() or abs(np.linalg.det(image.affine[:3, :3] / spacing)) < 1e-3:
        raise InputError(path, f"spacing {spacing.tolist()}", "three positive numbers and independent axes", "repair the header")
    return image


def _voxels(image: nib.Nifti1Image, path: Path) -> np.ndarray:
    try:
        return np.asarray(image.dataobj, dtype=np.float32)
    except (*UNREADABLE, TypeError) as error:
        raise InputError(path, _reason(error), "a complete NIfTI file", "restore the file") from error


def _reason(error: Exception) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__} ({text[0] if text else 'no detail'})"


def _same_grid(image: nib.Nifti1Image, first: nib.Nifti1Image, path: Path, first_path: Path) -> None:
    if image.shape[:3] != first.shape[:3]:
        raise InputError(path, f"shape {image.shape[:3]}", f"{first.shape[:3]}, as {first_path.name}", "put both on one grid")
    spacing = np.linalg.norm(first.affine[:3, :3], axis=0)
    reach = GEOMETRY_TOLERANCE * spacing.min() * max(first.shape[:3])
    if np.abs(image.affine - first.affine).max() > reach:
        raise InputError(path, f"affine {np.round(image.affine[:3], 3).tolist()}", f"that of {first_path.name}", "put both on one grid")


def _to_canonical(values: np.ndarray, image: nib.Nifti1Image) -> np.ndarray:
    """File order (i, j, k[, modality]) -> ``[Z,Y,X]`` or ``[M,Z,Y,X]``."""
    values = ornt.apply_orientation(values, ornt.ornt_transform(ornt.io_orientation(image.affine), CANONICAL))
    return np.ascontiguousarray(values.T)


def _geometry(image: nib.Nifti1Image) -> tuple[tuple[float, float, float], np.ndarray]:
    turn = ornt.ornt_transform(ornt.io_orientation(image.affine), CANONICAL)
    affine_xyz = image.affine @ ornt.inv_ornt_aff(turn, image.shape[:3])
    affine = affine_xyz[:, [2, 1, 0, 3]]
    return tuple(float(s) for s in np.linalg.norm(affine[:3, :3], axis=0)), affine
