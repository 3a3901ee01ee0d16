"""Scans and label maps in another orientation than the canonical one, as networks of other programs see them."""

from dataclasses import replace

import numpy as np
from nibabel import orientations as ornt

from uniseg.images.volume import CANONICAL_AXES, Volume

CANONICAL = ornt.axcodes2ornt(tuple(CANONICAL_AXES))


def turn(volume: Volume, axes: str) -> Volume:
    """A canonical scan with (x, y, z) along ``axes``, as nibabel's codes; itself where it lies so.

    Examples:
        >>> turned = turn(Volume.of_array(np.zeros((3, 4, 5)), spacing_mm=(3, 2, 1)), "PIR")
        >>> turned.array.shape, turned.spacing_mm
        ((1, 5, 3, 4), (1.0, 3.0, 2.0))
    """
    if axes == CANONICAL_AXES:
        return volume
    how = ornt.ornt_transform(CANONICAL, ornt.axcodes2ornt(tuple(axes)))
    shape_xyz = volume.array.shape[:0:-1]
    affine = volume.affine[:, [2, 1, 0, 3]] @ ornt.inv_ornt_aff(how, shape_xyz)
    spacing_mm = tuple(volume.spacing_mm[2 - axis] for axis in np.argsort(how[:, 0])[::-1])
    turned = {"array": _apply(volume.array, how), "spacing_mm": spacing_mm, "affine": affine[:, [2, 1, 0, 3]]}
    return replace(volume, **turned, axes=axes)


def turn_back(array: np.ndarray, axes: str) -> np.ndarray:
    """``[...,z,y,x]`` with (x, y, z) along ``axes`` in the canonical orientation."""
    return _apply(array, ornt.ornt_transform(ornt.axcodes2ornt(tuple(axes)), CANONICAL))


def _apply(array: np.ndarray, how: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(ornt.apply_orientation(array.T, how).T)
