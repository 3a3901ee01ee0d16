"""NIfTI files: the header through nibabel, with its units and both affines; the voxels up to gzip's checksum."""

import gzip
import logging
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.volumeutils import apply_read_scaling

from uniseg.errors import InputError
from uniseg.images.image_file import RESTORE, Forms, ImageFile, inflate, refusing, require_bytes, require_content

QUIET = logging.Logger("uniseg.images.nifti", logging.CRITICAL + 1)  # for what nibabel tells of headers that it mends
SEVERE = 40  # nibabel's level of what cannot be mended
GZIP = b"\x1f\x8b"
KINDS = (nib.Nifti1Header, nib.Nifti2Header)
HEADER_BYTES = max(kind.sizeof_hdr for kind in KINDS)
UNITS = 7  # bits of xyzt_units that are the unit of space
MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # metre, micron; 2 is mm, and 0, not stated, is taken for it
FORMS_TOLERANCE = 0.1  # of a voxel, at the corners


def open_nifti(path: Path) -> ImageFile:
    """A ``.nii`` or ``.nii.gz`` file in mm, whatever its unit; a fourth axis holds modalities.

    Notes say where no affine is stated, or where sform and qform disagree.

    Raises:
        InputError: unreadable, truncated, without a usable geometry.
    """
    is_packed = path.name.lower().endswith(".gz")
    _require_packing(path, is_packed)
    with refusing(path, "a readable NIfTI file"):
        with gzip.open(path) if is_packed else path.open("rb") as file:
            block = file.read(HEADER_BYTES)
        header = _header(path, block)
        shape, dtype = tuple(int(n) for n in header.get_data_shape()), header.get_data_dtype()
        start = max(header.get_data_offset(), header.single_vox_offset)
        mm = np.array([[MM_PER_UNIT.get(int(header["xyzt_units"]) & UNITS, 1.0)]] * 3 + [[1.0]])
        affine = header.get_best_affine() * mm
        scaling = header.get_slope_inter()
    if dtype.kind not in "biuf":
        raise InputError(path, f"voxels of type {dtype}", "real numbers", "convert the file")
    num_bytes = float(np.prod(shape, dtype=np.float64)) * dtype.itemsize
    require_bytes(path, start + num_bytes, path.stat().st_size, is_packed)

    def load() -> np.ndarray:
        with refusing(path, "a complete NIfTI file"):
            raw = np.empty(int(num_bytes), np.uint8)
            if is_packed:
                inflate(path, 0, raw, skip=start)
            else:
                with path.open("rb") as file:
                    file.seek(start)
                    if file.readinto(raw) != raw.size:
                        raise EOFError("the file ends early")
            slope, inter = (1.0, 0.0) if scaling[0] is None else scaling
            return apply_read_scaling(raw.view(dtype).reshape(shape, order="F"), slope, inter)

    with np.errstate(all="ignore"):
        forms, notes = _forms(header, mm, shape)
    return ImageFile(path, shape, affine, load, forms=forms, notes=notes)


def _require_packing(path: Path, is_packed: bool) -> None:
    """The ending says whether the content is packed."""
    holds_gzip = require_content(path).startswith(GZIP)
    if holds_gzip and not is_packed:
        fix = f"rename it to {path.stem}.nii.gz"
        raise InputError(path, "a file packed by gzip", "one that is not, as its ending says", fix)
    if is_packed and not holds_gzip:
        with refusing(path, "a readable NIfTI file"), path.open("rb") as file:
            block = file.read(HEADER_BYTES)
        found, fix = "no gzip file", RESTORE
        if any(kind.may_contain_header(block) for kind in KINDS):
            found, fix = "a NIfTI file that is not packed", f"rename it to {path.name[: -len('.gz')]}"
        raise InputError(path, found, "one packed by gzip, as its ending says", fix)


def _header(path: Path, block: bytes) -> nib.Nifti1Header:
    """Checked by nibabel, where a spacing that it would mend in silence is refused."""
    kind = next((kind for kind in KINDS if kind.may_contain_header(block)), None)
    if kind is None:
        raise InputError(path, "no NIfTI header", "a NIfTI file", RESTORE)
    header = kind(block[: kind.sizeof_hdr], check=False)
    if header["magic"].item() != kind.single_magic:
        raise InputError(path, "the header of a pair of files", "header and voxels in one file", "convert the pair")
    spacing = header["pixdim"][1:4]
    is_positive = np.isfinite(spacing).all() and (spacing > 0).all()
    if header["sform_code"] == 0 and not is_positive:  # nibabel would put 1 for 0, drop the sign
        raise InputError(path, f"spacing {spacing.tolist()}", "three positive numbers", "repair the header")
    header.check_fix(QUIET, SEVERE)
    return header


def _forms(header: nib.Nifti1Header, mm: np.ndarray, shape: tuple[int, ...]) -> tuple[Forms, tuple[str, ...]]:
    """Both affines in mm, with notes on what they leave in doubt."""
    (sform, sform_code), (qform, qform_code) = header.get_sform(coded=True), (None, 0)
    sform = None if sform is None else sform * mm
    try:
        qform, qform_code = header.get_qform(coded=True)
        qform = None if qform is None else qform * mm
        is_sound = qform is None or bool(np.isfinite(qform).all())
    except (ValueError, nib.spatialimages.HeaderDataError):
        is_sound = False
    if not is_sound:
        return Forms(sform, int(sform_code), None, 0), ("a qform that is no rotation; the sform is taken",)
    forms = Forms(sform, int(sform_code), qform, int(qform_code))
    if sform is None and qform is None:
        return forms, ("no orientation (sform and qform have code 0); its axes are taken for left, anterior, superior",)
    if sform is None or qform is None:
        return forms, ()
    corners = np.array([[*corner, 1.0] for corner in product(*((0, n - 1) for n in shape[:3]))]).T
    apart_mm = np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max()
    if apart_mm <= FORMS_TOLERANCE * np.linalg.norm(sform[:3, :3], axis=0).min():
        return forms, ()
    return forms, ("an sform unlike the qform; the sform is taken",)
