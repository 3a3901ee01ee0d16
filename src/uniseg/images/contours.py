"""The outline of a mask as closed polygons, which give the mask back exactly."""

from itertools import pairwise

import numpy as np

HALF = 0.5


def find_contours(mask: np.ndarray) -> list[np.ndarray]:
    """Polygons ``[n,2]`` of (column, row), the centres of voxels being whole numbers; the last corner joins the first.

    They run halfway between the voxels inside and outside, so that every centre is clearly on its side. A hole is
    joined to the outline around it by a channel without width (the keyhole of DICOM PS3.3 C.8.8.6.3), which runs
    between the centres: whoever fills polygons one by one gets the hole too.

    Args:
        mask: ``[rows,columns]`` bool.

    Examples:
        >>> find_contours(np.ones((1, 1), bool))[0].tolist()
        [[-0.5, 0.0], [0.0, -0.5], [0.5, 0.0], [0.0, 0.5]]
    """
    import contourpy

    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return []
    low = np.array([columns[0], rows[0]])
    box = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1).astype(np.float64)
    generator = contourpy.contour_generator(z=box, fill_type=contourpy.FillType.OuterOffset)
    polygons = []
    for points, offsets in zip(*generator.filled(HALF, 2.0), strict=True):
        rings = [points[a : b - 1] for a, b in pairwise(offsets)]  # each repeats its first point
        outline = rings[0]
        for hole in rings[1:]:
            outline = _joined(outline, hole)
        polygons.append(_without_idle_points(outline) - 1 + low)
    return polygons


def _joined(outline: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One ring: along the outline to above the hole's rightmost corner, down, around the hole, up, on.

    That corner lies between two columns, and so does the channel.
    """
    first = int(hole[:, 0].argmax())
    x, y = hole[first]
    loop = [*np.roll(hole, -first, axis=0), hole[first]]
    following = np.roll(outline, -1, axis=0)
    width = following[:, 0] - outline[:, 0]
    with np.errstate(all="ignore"):
        along = np.where(width == 0, 0.0, (x - outline[:, 0]) / width)
    heights = outline[:, 1] + along * (following[:, 1] - outline[:, 1])
    meets = (np.minimum(outline[:, 0], following[:, 0]) <= x) & (x <= np.maximum(outline[:, 0], following[:, 0]))
    above = np.where(meets & (heights < y), heights, -np.inf)
    at = int(above.argmax())
    bridge = np.array([x, above[at]])
    return np.array([*outline[: at + 1], bridge, *loop, bridge, *outline[at + 1 :]])


def _without_idle_points(ring: np.ndarray) -> np.ndarray:
    """Without repeated points and those in the middle of a straight line; where a channel turns back is a corner."""
    ring = ring[np.any(ring != np.roll(ring, 1, axis=0), axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    goes_on = (before * after).sum(axis=1) > 0
    return ring[(np.abs(turn) > 1e-9) | ~goes_on]
