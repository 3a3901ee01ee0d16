"""A scan as its file stores it: the header at once, the voxels on demand."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniseg.errors import InputError

DEFLATE_RATIO = 1032  # no deflate stream unpacks to more times its own length
FARTHEST_MM = 1e6
UNREADABLE = (OSError, EOFError, ValueError, TypeError, OverflowError, MemoryError, zlib.error)


@dataclass(frozen=True)
class Stored:
    """One file, or one folder of slices, in its own axis order.

    Attributes:
        path: for messages.
        shape: (i, j, k) or (i, j, k, modality).
        affine: 4x4, index (i, j, k, 1) -> RAS mm.
        load: returns the voxels, of ``shape``; raises InputError.
        stated: what a DICOM header calls the modality (CT, MR, PT); empty for other files.
        is_extract: the file may cover a part of its scan's grid, as Slicer's segmentations do.

    Raises:
        InputError: not three or four axes, an empty axis, or an affine that is no grid.
    """

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    load: Callable[[], np.ndarray]
    is_extract: bool = False
    stated: str = ""

    def __post_init__(self) -> None:
        if len(self.shape) not in (3, 4) or min(self.shape) < 1:
            raise InputError(self.path, f"shape {self.shape}", "three dimensions (or four, modalities last)", "give one volume per file")
        with np.errstate(all="ignore"):
            spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
            volume = abs(np.linalg.det(self.affine[:3, :3] / spacing)) if np.isfinite(spacing).all() and (spacing > 1e-6).all() else 0.0
        if not (np.abs(self.affine) < FARTHEST_MM).all() or not volume > 1e-3:
            raise InputError(self.path, f"spacing {spacing.tolist()}", "three positive numbers and independent axes", "repair the header")

    def voxels(self) -> np.ndarray:
        """Float32 of ``shape``; what float32 cannot hold becomes infinity.

        Raises:
            InputError: the voxels cannot be read, or are not real numbers.
        """
        values = self.load()
        if values.dtype.kind not in "biuf":
            raise InputError(self.path, f"voxels of type {values.dtype}", "real numbers", "convert the file")
        with np.errstate(all="ignore"):
            return values.astype(np.float32, copy=False)


def reason(error: BaseException) -> str:
    """The last word of a library, in one line."""
    text = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__} ({text[-1][:200] if text else 'no detail'})"


def require_bytes(path: Path, claimed: float, held: int, packed: bool) -> None:
    """The header claims no more than the file can hold.

    Raises:
        InputError: it does.
    """
    if claimed > held * (DEFLATE_RATIO if packed else 1):
        raise InputError(path, f"a header that claims {claimed:.0f} bytes of voxels with {held} bytes stored", "a complete file", "restore the file")
