"""The voxels that a task's scans are resampled to."""

import numpy as np

# nnU-Net: an axis counts as coarse where it is that many times coarser, with that many times fewer voxels
ANISOTROPY = 3
ANISOTROPIC_PERCENTILE = 10


def target_spacing(spacings: np.ndarray, shapes: np.ndarray) -> tuple[float, float, float]:
    """nnU-Net's spacing (z, y, x) in mm for cases of ``spacings [n,3]`` with ``shapes [n,3]``, from headers alone.

    The median; of an axis that is coarse in spacing as in voxels, the 10th percentile, but not finer than the other
    axes (``ExperimentPlanner.determine_fullres_target_spacing``, which takes the shapes after cropping).
    """
    spacing, shape = np.median(spacings, 0), np.median(shapes, 0)
    coarse = int(spacing.argmax())
    finer, longer = np.delete(spacing, coarse).max(), np.delete(shape, coarse).min()
    if spacing[coarse] > ANISOTROPY * finer and shape[coarse] * ANISOTROPY < longer:
        spacing[coarse] = max(np.percentile(spacings[:, coarse], ANISOTROPIC_PERCENTILE), finer)
    return tuple(round(float(s), 6) for s in spacing)
