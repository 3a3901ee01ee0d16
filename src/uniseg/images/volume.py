"""A scan in memory, with its geometry."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CANONICAL_AXES = "LPS"  # x, y, z


@dataclass(frozen=True)
class Volume:
    """Voxels in the closest canonical orientation: Z grows to superior, Y to posterior, X to left.

    Attributes:
        array: ``[M,Z,Y,X]``.
        spacing_mm: voxel size (z, y, x).
        affine: 4x4, index (z, y, x, 1) -> RAS mm.
        stated: what a DICOM header calls each modality, empty where none does.
        present: one per modality; False where the scan lacks it, whose channel is zeros. All True where not given.
        notes: what is doubtful about the headers of its files, but no error, each in one line.
        axes: where the axes (x, y, z) of its file point to, as nibabel's codes.

    Examples:
        >>> Volume.of_array(np.zeros((3, 4, 5)), spacing_mm=(2, 1, 1)).array.shape
        (1, 3, 4, 5)
    """

    array: np.ndarray
    spacing_mm: tuple[float, float, float]
    affine: np.ndarray
    present: tuple[bool, ...] = ()
    stated: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    axes: str = CANONICAL_AXES

    @classmethod
    def of_array(cls, array: np.ndarray, spacing_mm: Sequence[float]) -> "Volume":
        """A scan that lies in no file.

        Args:
            array: ``[Z,Y,X]`` or ``[M,Z,Y,X]``, in the orientation named above.
            spacing_mm: (z, y, x).

        Raises:
            ValueError: another number of axes, NaN or infinity, a spacing that is not positive.
        """
        array = np.asarray(array, np.float32)
        array = array[None] if array.ndim == 3 else array
        spacing_mm = tuple(float(n) for n in spacing_mm)
        if array.ndim != 4 or not np.isfinite(array).all() or len(spacing_mm) != 3 or not min(spacing_mm) > 0:
            raise ValueError(
                f"found shape {array.shape}, spacing {spacing_mm}; expected finite [Z,Y,X] or [M,Z,Y,X] with three "
                f"positive numbers"
            )
        affine = np.zeros((4, 4))
        affine[[2, 1, 0], [0, 1, 2]] = np.array(spacing_mm) * (1, -1, -1)
        affine[3, 3] = 1
        return cls(array, spacing_mm, affine)

    @property
    def voxel_ml(self) -> float:
        """Of one voxel, also where the axes are not perpendicular, as of a tilted CT gantry."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def __post_init__(self) -> None:
        if not self.present:
            object.__setattr__(self, "present", (True,) * len(self.array))
        if not self.stated:
            object.__setattr__(self, "stated", ("",) * len(self.array))
