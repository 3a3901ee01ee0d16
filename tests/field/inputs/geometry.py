"""NIfTI headers whose two affines differ, are lacking, or are in other units."""

from pathlib import Path

import nibabel as nib
import numpy as np

from field.inputs.balls import SPACING_MM, affine, ball

SHIFT_MM = (15, -8, 22)
SHEAR = 0.02


def elsewhere() -> np.ndarray:
    matrix = affine()
    matrix[:3, 3] += SHIFT_MM
    return matrix


def sheared() -> np.ndarray:
    matrix = affine()
    matrix[0, 1] = SHEAR
    return matrix


def upside_down() -> np.ndarray:
    matrix = affine()
    matrix[2, 2] *= -1
    return matrix


def micrometres() -> np.ndarray:
    return np.diag([1000, 1000, 1000, 1.0]) @ affine()


def _image(
    sform: np.ndarray | None, sform_code: int, qform: np.ndarray | None, qform_code: int, unit: str = "mm"
) -> nib.Nifti1Image:
    image = nib.Nifti1Image(ball()[0], None)
    image.header["pixdim"][1:4] = SPACING_MM
    image.header.set_xyzt_units(unit, "sec")
    image.set_sform(sform, sform_code)
    image.set_qform(qform, qform_code)
    return image


def write_geometry(folder: Path) -> Path:
    """The voxels of ``ball()`` under every header."""
    array = ball()[0]
    images = {
        "plain": _image(affine(), 1, affine(), 1),
        "both_differ": _image(affine(), 1, elsewhere(), 1),
        "qform_only": _image(None, 0, elsewhere(), 1),
        "micron": _image(micrometres(), 1, None, 0, "micron"),
        "sheared": _image(sheared(), 1, None, 0),
        "inverted_z": _image(upside_down(), 1, upside_down(), 1),
        "big_endian": nib.Nifti1Image(array.astype(">i2"), affine(), nib.Nifti1Header(endianness=">")),
        "nifti2": nib.Nifti2Image(array, affine()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        nib.save(image, folder / f"{name}.nii.gz")
    return folder
