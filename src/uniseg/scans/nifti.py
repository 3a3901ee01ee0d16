"""NIfTI files, through nibabel."""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import imageglobals
from nibabel.openers import ImageOpener

from uniseg.errors import InputError
from uniseg.scans.stored import UNREADABLE, Stored, reason, require_bytes

imageglobals.logger.setLevel(logging.CRITICAL)  # it tells on standard error how it mends a header; here a header to mend is refused
REFUSALS = (*UNREADABLE, nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, np.linalg.LinAlgError)


def open_nifti(path: Path) -> Stored:
    """A ``.nii`` or ``.nii.gz`` file; a fourth axis holds modalities.

    Raises:
        InputError: unreadable, truncated, without a usable geometry.
    """
    try:
        with np.errstate(all="ignore"):
            image = nib.load(path)
            shape, affine = tuple(int(n) for n in image.shape), np.asarray(image.affine, np.float64)
            with ImageOpener(path) as file:
                raw = type(image.header).from_fileobj(file, check=False)
    except REFUSALS as error:
        raise InputError(path, reason(error), "a readable NIfTI file", "restore the file") from error
    pixdim = raw["pixdim"][1:4]
    if raw["sform_code"] == 0 and not (np.isfinite(pixdim).all() and (pixdim > 0).all()):  # nibabel would put 1 for 0, drop the sign
        raise InputError(path, f"spacing {pixdim.tolist()}", "three positive numbers", "repair the header")
    claimed = float(np.prod(shape, dtype=np.float64)) * image.get_data_dtype().itemsize
    require_bytes(path, claimed, path.stat().st_size, packed=path.name.endswith(".gz"))

    def load() -> np.ndarray:
        try:
            with np.errstate(all="ignore"):
                return np.asarray(image.dataobj)
        except REFUSALS as error:
            raise InputError(path, reason(error), "a complete NIfTI file", "restore the file") from error

    return Stored(path, shape, affine, load)
