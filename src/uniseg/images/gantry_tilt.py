"""Slices that drift sideways, as those of a tilted gantry do: onto a right-angled grid, and back."""

from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-5  # of a voxel, in positions as files hold them


@dataclass(frozen=True)
class Tilt:
    """Each slice stays in its plane, and moves there by a little more than the one before it.

    Attributes:
        drift: voxels (rows, columns) from one slice to the next.
        shape: rows, columns of a slice.
        num_slices: of the series.

    Examples:
        >>> tilt = Tilt((0.5, 0.0), (4, 3), 5)
        >>> tilt.grid_shape, tilt.straighten(np.ones((4, 3)), 4)[:, 0].tolist()
        ((6, 3), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    """

    drift: tuple[float, float]
    shape: tuple[int, int]
    num_slices: int

    @property
    def low(self) -> np.ndarray:
        """Index of the grid's first voxel in the first slice's rows and columns."""
        return np.floor(np.minimum(0, self._farthest) + ROUNDING).astype(int)

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Rows, columns that hold every slice."""
        high = np.ceil(np.maximum(0, self._farthest) - ROUNDING).astype(int)
        rows, columns = self.shape + high - self.low
        return int(rows), int(columns)

    @property
    def _farthest(self) -> np.ndarray:
        return np.array(self.drift) * (self.num_slices - 1)

    def straighten(self, plane: np.ndarray, number: int) -> np.ndarray:
        """Slice ``number`` on the grid, linear between voxels; its lowest value where it has none."""
        offset = number * np.array(self.drift) - self.low
        moved = np.pad(plane, 1, constant_values=plane.min())
        first = np.floor(offset + ROUNDING).astype(int)
        for axis, part in enumerate(np.maximum(offset - first, 0)):
            after, before = np.delete(moved, 0, axis), np.delete(moved, -1, axis)
            moved = after if part < ROUNDING else (1 - part) * after + part * before
        grid = np.full(self.grid_shape, plane.min(), plane.dtype)
        room = grid[first[0] : first[0] + moved.shape[0], first[1] : first[1] + moved.shape[1]]
        room[...] = moved[: room.shape[0], : room.shape[1]]
        return grid

    def slant(self, plane: np.ndarray, number: int) -> np.ndarray:
        """What a label map of the grid says on slice ``number``: the nearest voxel's value."""
        row, column = np.rint(number * np.array(self.drift) - self.low).astype(int)
        return plane[row : row + self.shape[0], column : column + self.shape[1]]
