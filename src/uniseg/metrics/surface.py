"""Distances between the surfaces of two masks, and what follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

NAN = float("nan")


@dataclass(frozen=True)
class SurfaceDistances:
    """From every surface voxel of one mask to the nearest of the other, in mm.

    A mask's surface are its voxels with a face towards the outside; what touches the border of the scan counts.

    Attributes:
        to_reference: from the prediction ``[n]``.
        to_prediction: from the reference ``[m]``.

    Examples:
        >>> mask = np.ones((1, 2, 2), bool)
        >>> surface_distances(mask, mask, (1.0, 1.0, 1.0)).assd()
        0.0
    """

    to_reference: np.ndarray
    to_prediction: np.ndarray

    def nsd(self, tolerance_mm: float) -> float:
        """Normalised surface Dice: the fraction of both surfaces within the tolerance (Nikolov et al. 2018)."""
        near = np.count_nonzero(self.to_reference <= tolerance_mm) + np.count_nonzero(
            self.to_prediction <= tolerance_mm
        )
        return near / (len(self.to_reference) + len(self.to_prediction))

    def hausdorff(self, percentile: float) -> float:
        """The larger of the percentiles of both directions, in mm."""
        return float(max(np.percentile(distances, percentile) for distances in (self.to_reference, self.to_prediction)))

    def assd(self) -> float:
        """Mean over the voxels of both surfaces, in mm."""
        return float(np.concatenate([self.to_reference, self.to_prediction]).mean())


def surface_distances(predicted: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float]) -> SurfaceDistances:
    """Two boolean masks ``[Z,Y,X]``, both with a voxel inside.

    Raises:
        ValueError: a mask is empty, where there are no distances.
    """
    if not (predicted.any() and reference.any()):
        raise ValueError("an empty mask has no surface")
    box = bounding_box(predicted | reference)
    surfaces = [_surface(mask[box]) for mask in (predicted, reference)]
    away = [distance_transform_edt(~surface, sampling=tuple(spacing_mm)) for surface in surfaces]
    return SurfaceDistances(away[1][surfaces[0]], away[0][surfaces[1]])


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Of what is inside ``mask [Z,Y,X]``, which must not be empty."""
    lines = [mask.any(tuple(other for other in range(mask.ndim) if other != axis)) for axis in range(mask.ndim)]
    return tuple(slice(int(line.argmax()), len(line) - int(line[::-1].argmax())) for line in lines)


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~binary_erosion(mask)
