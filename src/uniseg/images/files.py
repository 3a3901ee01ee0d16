"""Files in, label maps out: the only place that converts axis order."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations as ornt

from uniseg.errors import InputError
from uniseg.files import write_atomically
from uniseg.images.dicom import is_series, open_series
from uniseg.images.dicom_file import is_dicom
from uniseg.images.dicom_seg import is_dicom_seg, open_dicom_seg
from uniseg.images.grid import Grid, is_same, offset_in, paste, require_same, resample_onto
from uniseg.images.image_file import Forms, ImageFile, refusing
from uniseg.images.itk import open_nrrd, open_segmentation, write_itk
from uniseg.images.metaimage import open_meta
from uniseg.images.nifti import open_nifti
from uniseg.images.orientation import CANONICAL
from uniseg.images.volume import Volume

OPENERS: dict[str, Callable[[Path], ImageFile]] = {  # a longer ending before the one that it ends in
    ".nii.gz": open_nifti,
    ".nii": open_nifti,
    ".seg.nrrd": open_segmentation,
    ".nrrd": open_nrrd,
    ".nhdr": open_nrrd,
    ".mha": open_meta,
    ".mhd": open_meta,
}
ENDINGS = tuple(OPENERS)
LABEL_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")  # of label maps that are written
LONGEST_NIFTI1 = 32767
AnyPath = str | os.PathLike


def read_volume(paths: AnyPath | Sequence[AnyPath | None], reference: int | None = None) -> Volume:
    """One image per modality as ``[M,Z,Y,X]`` float32. A single 4-D file holds all modalities.

    Args:
        paths: one or several files or folders of DICOM slices; None for a modality that the case lacks, whose channel
            is zeros.
        reference: position of the modality onto whose grid the others are resampled; None: all must lie on one grid.

    Raises:
        InputError: no path, or one is missing, unreadable, not 3-D, holds NaN or infinity, has no usable spacing, or
            lies on another grid.
    """
    paths = _listed(paths)
    first = open_image(reference_path(paths, reference))
    grid, channels, stated = _grid(first), [], []
    notes: dict[str, None] = {}  # as an ordered set
    for path in paths:
        if path is None:
            channels.append(np.zeros((1, *grid.shape), np.float32))
            stated.append("")
            continue
        image = first if path == first.path else open_image(path)
        if len(image.shape) == 4 and len(paths) > 1:
            found = f"shape {image.shape}, {image.shape[3]} volumes in one file"
            raise InputError(path, found, "three dimensions where each modality has its own file", "split the file")
        image_grid = _grid(image)
        if reference is None:
            require_same(image_grid, grid)
        values = image.voxels()
        if not np.isfinite(values).all():
            raise InputError(
                path,
                f"{np.count_nonzero(~np.isfinite(values))} voxels of NaN or infinity",
                "finite intensities",
                "repair the file",
            )
        values = _to_canonical(values, image.affine)
        values = values if values.ndim == 4 else values[None]
        stated += [image.stated] * len(values)
        notes |= dict.fromkeys(image.notes)
        is_aligned = reference is None or is_same(image_grid, grid)
        channels.append(values if is_aligned else resample_onto(values, image_grid, grid))
    array = channels[0] if len(channels) == 1 else np.concatenate(channels)
    present = (True,) * len(array) if len(paths) == 1 else tuple(path is not None for path in paths)
    axes = "".join(nib.aff2axcodes(first.affine))
    return Volume(array, grid.spacing_mm, grid.affine, present, tuple(stated), tuple(notes), axes)


def read_label(path: AnyPath, like: AnyPath | Sequence[AnyPath | None], reference: int | None = None) -> np.ndarray:
    """A label map ``[Z,Y,X]`` int16 on the grid of the image files ``like``; with ``reference``, of the one in that
    place.

    Slicer's segmentations, and DICOM's, may cover a part of the grid.

    Raises:
        InputError: missing, unreadable, not whole numbers, or on another grid than the image.
    """
    path = Path(path)
    label = open_dicom_seg(path) if _ending(path) is None and is_dicom_seg(path) else open_image(path)
    grid = _grid(open_image(reference_path(like, reference)))
    _require_label_grid(label, grid)
    values = label.voxels()
    whole = np.rint(values)
    if (
        values.ndim != 3
        or not np.isfinite(values).all()
        or np.abs(values - whole).max(initial=0) > 1e-3
        or np.abs(whole).max(initial=0) > 32767
    ):
        raise InputError(
            path, "values that are not whole numbers in three dimensions", "a label map", "give the label file"
        )
    turned = _to_canonical(whole.astype(np.int16), label.affine)
    return paste(turned, _grid(label), grid) if label.is_extract else turned


def read_geometry(path: AnyPath) -> Volume:
    """Shape, spacing, affine and notes from the header alone; the array is empty memory of the right shape."""
    image = open_image(Path(path))
    grid = _grid(image)
    return Volume(np.broadcast_to(np.int8(0), (1, *grid.shape)), grid.spacing_mm, grid.affine, notes=image.notes)


def write_label_map(label: np.ndarray, like: Volume | AnyPath, path: AnyPath) -> None:
    """Write ``[Z,Y,X]`` in the canonical orientation on the grid of the scan ``like``; it appears whole or not at all.

    Args:
        like: the scan's file, in whose own axis order the label map is written; or a scan in memory.
        path: its ending says the format: .nii.gz, .nii, .nrrd or .mha. Of a NIfTI scan a NIfTI label map gets both
            affines with their codes, in mm, so that every viewer lays the two on each other.

    Example:
        >>> write_label_map(labels["liver"], like=volume, path="liver.nii.gz")  # doctest: +SKIP

    Raises:
        InputError: another shape than the scan's, or another ending.
    """
    scan = None if isinstance(like, Volume) else open_image(Path(like))
    shape = like.array.shape[1:] if scan is None else _grid(scan).shape
    affine = like.affine[:, [2, 1, 0, 3]] if scan is None else scan.affine
    if label.shape != shape:
        raise InputError(path, f"a label map of shape {label.shape}", f"{shape}, as the scan's", "give its own scan")
    ending = _ending(Path(path))
    if ending not in LABEL_ENDINGS:
        raise InputError(path, "another file ending", f"one of {', '.join(LABEL_ENDINGS)}", "rename the output")
    values = to_own_order(label.T, affine)
    values = values.astype(np.uint8 if values.max(initial=0) < 256 else np.int16, copy=False)
    if ending in (".nii.gz", ".nii"):
        _save(_image(values, affine, scan and scan.forms), path)
    else:
        with write_atomically(path) as part:
            write_itk(values, affine, part)


def write_probabilities(probabilities: np.ndarray, like: AnyPath, path: AnyPath) -> None:
    """Write ``[V,Z,Y,X]`` uint8 (255 is 1) as a 4-D NIfTI like ``write_label_map``, whose header scales to 0 to 1."""
    scan = open_image(Path(like))
    image = _image(to_own_order(probabilities.T, scan.affine), scan.affine, scan.forms)
    image.header.set_slope_inter(1 / 255, 0)
    _save(image, path)


def to_own_order(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(x, y, z[, V]) in the canonical orientation -> the file's own order."""
    return ornt.apply_orientation(values, ornt.ornt_transform(CANONICAL, ornt.io_orientation(affine)))


def _image(values: np.ndarray, affine: np.ndarray, forms: Forms | None) -> nib.Nifti1Image:
    """(x, y, z[, V]) in the scan's own order, placed as its header says."""
    image = (nib.Nifti1Image if max(values.shape) <= LONGEST_NIFTI1 else nib.Nifti2Image)(values, affine)
    image.header.set_xyzt_units("mm")
    if forms is not None:
        image.set_sform(forms.sform, forms.sform_code)
        image.set_qform(forms.qform, forms.qform_code)
    return image


def _save(image: nib.Nifti1Image, path: AnyPath) -> None:
    with write_atomically(path) as part:
        nib.save(image, part)


def case_id_of(path: AnyPath) -> str | None:
    """File name without a known ending, or the name of a folder of DICOM slices; None for all else."""
    path = Path(path)
    if path.is_dir():
        return Path(os.path.abspath(path)).name if is_series(path) else None
    ending = _ending(path)
    return None if ending is None or path.name.startswith(".") else path.name[: -len(ending)]


def reference_path(paths: AnyPath | Sequence[AnyPath | None], reference: int | None = None) -> Path:
    """The image whose grid holds: the one in place ``reference``, or else the first that is there.

    Raises:
        InputError: the case lacks that image, or all.
    """
    paths = _listed(paths)
    candidates = paths if reference is None else paths[reference : reference + 1]
    chosen = next((path for path in candidates if path is not None), None)
    if chosen is None:
        expected = (
            "at least one image"
            if reference is None
            else f"the image of modality {reference}, onto which the others are resampled"
        )
        raise InputError("case", f"images {[path and str(path) for path in paths]}", expected, "give its file")
    return chosen


def open_image(path: Path) -> ImageFile:
    ending = _ending(path)
    with refusing(path, "an image", "check the path"):
        is_folder, is_file = path.is_dir(), path.is_file()
    if ending is None and (is_folder or (is_file and is_dicom(path))):
        return open_series(path)
    if ending is None:
        raise InputError(
            path,
            "an unknown file ending",
            f"one of {', '.join(ENDINGS)}, or a folder of DICOM slices",
            "convert the file",
        )
    if not is_file:
        raise InputError(path, "no such file", "an image", "check the path")
    return OPENERS[ending](path)


def _ending(path: Path) -> str | None:
    name = path.name.lower()
    return next((ending for ending in ENDINGS if name.endswith(ending)), None)


def _listed(paths: AnyPath | Sequence[AnyPath | None]) -> list[Path | None]:
    single = isinstance(paths, (str, os.PathLike))
    return [None if path is None else Path(path) for path in ([paths] if single else paths)]


def _require_label_grid(label: ImageFile, grid: Grid) -> None:
    label_grid = _grid(label)
    if label.is_extract:
        offset_in(label_grid, grid)
    else:
        require_same(label_grid, grid)


def _to_canonical(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """File order (i, j, k[, modality]) -> ``[Z,Y,X]`` or ``[M,Z,Y,X]``."""
    values = ornt.apply_orientation(values, ornt.ornt_transform(ornt.io_orientation(affine), CANONICAL))
    return np.ascontiguousarray(values.T)


def _grid(image: ImageFile) -> Grid:
    """The grid in canonical order."""
    turn = ornt.ornt_transform(ornt.io_orientation(image.affine), CANONICAL)
    shape = np.empty(3, int)
    shape[turn[:, 0].astype(int)] = image.shape[:3]
    affine_xyz = image.affine @ ornt.inv_ornt_aff(turn, image.shape[:3])
    return Grid(image.path, tuple(int(n) for n in shape[::-1]), affine_xyz[:, [2, 1, 0, 3]])
