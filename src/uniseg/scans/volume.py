"""A scan in memory, with its geometry."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Volume:
    """Voxels in the closest canonical orientation: Z grows to superior, Y to posterior, X to left.

    Attributes:
        array: ``[M,Z,Y,X]``.
        spacing_mm: voxel size (z, y, x).
        affine: 4x4, index (z, y, x, 1) -> RAS mm.
        present: one per modality; False where the scan lacks it, whose channel is zeros. All True where not given.
    """

    array: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    present: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.present:
            object.__setattr__(self, "present", (True,) * len(self.array))
