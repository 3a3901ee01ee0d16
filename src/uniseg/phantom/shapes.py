"""Shapes of phantom patients: blobs, drawn in order through a smooth warp; organs, tubes, tumours made of them.

All points are in patient millimetres ordered (z, y, x) = towards (superior, posterior, left), so the liver has x < 0.
A patient is a list of blobs; later ones are painted over earlier ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

STRUCTURES = (
    "background", "table", "fat", "muscle", "lung", "airway", "heart", "rib", "vertebra", "spinal_canal", "pelvis",
    "liver", "hepatic_vessel", "kidney", "spleen", "pancreas", "stomach", "small_bowel", "colon", "bowel_gas", "aorta",
    "vena_cava", "bladder", "prostate", "lung_tumour", "liver_tumour", "kidney_tumour", "pancreas_tumour",
    "colon_tumour",
    "lesion", "scalp", "skull", "csf", "grey_matter", "white_matter", "ventricle", "oedema", "non_enhancing",
    "enhancing",
)  # fmt: skip
"""Names of all structures; the position is the value in a structure map."""

VALUE = {name: value for value, name in enumerate(STRUCTURES)}

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Blob:
    """One (super)ellipsoid of a structure: sum |local / radii| ** power <= 1.

    Attributes:
        structure: name of what it is made of.
        centre: [3] mm.
        radii: [3] mm, along the columns of ``axes``.
        over: the structures it may replace; empty: all of them.
        power: 2 for an ellipsoid; larger is boxier.
        axes: [3, 3] rotation from local axes to patient axes.

    Examples:
        >>> Blob("liver", np.zeros(3), np.array([3.0, 4, 5])).reach
        5.0
    """

    structure: str
    centre: np.ndarray
    radii: np.ndarray
    over: tuple[str, ...] = ()
    power: int = 2
    axes: np.ndarray | None = None

    @property
    def reach(self) -> float:
        """Radius in mm of a ball around the centre that holds the whole blob."""
        return float(np.linalg.norm(self.radii) if self.power > 2 else np.max(self.radii))

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Mask [...] of ``points`` [3, ...] in mm."""
        local = points - self.centre.astype(np.float32).reshape(3, 1, 1, 1)
        if self.axes is not None:
            local = np.tensordot(self.axes.T.astype(np.float32), local, axes=1)
        local /= self.radii.astype(np.float32).reshape(3, 1, 1, 1)
        return (local**self.power).sum(axis=0) <= 1


@dataclass(frozen=True)
class Waves:
    """A smooth warp: the sum of plane waves ``amplitude_k * sin(frequency_k . p + phase_k)``.

    Attributes:
        amplitude: [N, 3] mm.
        frequency: [N, 3] radians per mm.
        phase: [N] radians.

    Examples:
        >>> Waves(np.zeros((1, 3)), np.ones((1, 3)), np.zeros(1)).reach
        0.0
    """

    amplitude: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray

    @property
    def reach(self) -> float:
        """The largest displacement in mm."""
        return float(np.linalg.norm(self.amplitude, axis=1).sum())

    def displacement(self, points: np.ndarray) -> np.ndarray:
        """Displacement [3, ...] in mm at ``points`` [3, ...] in mm."""
        total = np.zeros_like(points)
        for amplitude, frequency, phase in zip(self.amplitude, self.frequency, self.phase, strict=True):
            wave = np.sin(np.tensordot(frequency.astype(np.float32), points, axes=1) + np.float32(phase))
            total += np.multiply.outer(amplitude.astype(np.float32), wave)
        return total


def draw_waves(rng: np.random.Generator) -> Waves:
    """Three long waves that bend the patient and three short ones that make surfaces uneven."""
    wavelength = np.concatenate([rng.uniform(80, 140, 3), rng.uniform(22, 34, 3)])
    height = np.array([2.6, 2.6, 2.6, 0.8, 0.8, 0.8])
    directions = rng.normal(size=(2, 6, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    return Waves(
        height[:, None] * directions[0], 2 * np.pi / wavelength[:, None] * directions[1], rng.uniform(0, 2 * np.pi, 6)
    )


@cache
def _membership(names: tuple[str, ...]) -> np.ndarray:
    """bool, one per structure: is it among ``names``?"""
    return np.isin(STRUCTURES, names)


def structure_map(blobs: Iterable[Blob], waves: Waves, shape: Sequence[int], to_patient: np.ndarray) -> np.ndarray:
    """Paint the blobs, later ones over earlier ones, on a voxel grid.

    Args:
        shape: Z, Y, X.
        to_patient: [4, 4], voxel index (z, y, x) -> patient mm.

    Returns:
        uint8 [Z, Y, X], values are positions in ``STRUCTURES``.
    """
    linear, origin = to_patient[:3, :3], to_patient[:3, 3]
    points = np.tensordot(linear.astype(np.float32), np.indices(shape, dtype=np.float32), axes=1) + origin.astype(
        np.float32
    ).reshape(3, 1, 1, 1)
    points += waves.displacement(points)
    to_index = np.linalg.inv(linear)
    voxels_per_mm, warp_mm = np.linalg.norm(to_index, axis=1), waves.reach
    structures = np.zeros(shape, np.uint8)
    for blob in blobs:
        middle, half = to_index @ (blob.centre - origin), (blob.reach + warp_mm) * voxels_per_mm
        box = tuple(
            slice(max(0, int(low)), max(0, int(high) + 1))
            for low, high in zip(middle - half, middle + half, strict=True)
        )
        mask = blob.contains(points[(slice(None), *box)])
        if blob.over:
            mask &= _membership(blob.over)[structures[box]]
        structures[box][mask] = VALUE[blob.structure]
    return structures


def _turn(rng: np.random.Generator, degrees: float) -> np.ndarray:
    return Rotation.from_rotvec(rng.uniform(-degrees, degrees, 3), degrees=True).as_matrix()


def organ(
    rng: np.random.Generator,
    structure: str,
    centre: Sequence[float],
    radii: Sequence[float],
    shift_mm: float = 3,
    tilt: float = 12,
    **options,
) -> Blob:
    """An ellipsoid that is a little off, a little smaller or larger than usual (radii +-12 %), a little turned."""
    return Blob(
        structure,
        np.array(centre) + rng.normal(0, shift_mm, 3),
        np.array(radii) * rng.uniform(0.88, 1.12, 3),
        axes=_turn(rng, tilt),
        **options,
    )


def tube(
    structure: str,
    knots: Sequence[Sequence[float]] | np.ndarray,
    radii: Sequence[float],
    over: tuple[str, ...] = (),
    ripple_mm: float = 0,
) -> list[Blob]:
    """Balls along the spline through ``knots`` [N, 3] mm; the radius runs along ``radii`` mm, rippled every 16 mm."""
    knots = np.asarray(knots, float)
    at_mm = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    along_mm = np.linspace(0, at_mm[-1], int(np.ceil(at_mm[-1] / (0.6 * min(radii)))) + 1)
    centres = CubicSpline(at_mm, knots)(along_mm)
    radius = np.interp(along_mm, np.linspace(0, at_mm[-1], len(radii)), radii) + ripple_mm * np.sin(
        along_mm * (2 * np.pi / 16)
    )
    return [Blob(structure, centre, np.full(3, r), over) for centre, r in zip(centres, radius, strict=True)]


def point_inside(rng: np.random.Generator, blob: Blob, depth: float) -> np.ndarray:
    """A point [3] mm of an ellipsoid, at most ``depth`` of the way to its surface."""
    direction = rng.normal(size=3)
    return blob.centre + blob.axes @ (
        blob.radii * direction / np.linalg.norm(direction) * depth * rng.uniform() ** (1 / 3)
    )


def tumour(
    rng: np.random.Generator, structure: str, centre: np.ndarray, radius_mm: tuple[float, float], over: tuple[str, ...]
) -> list[Blob]:
    """Two overlapping ellipsoids: a lobulated mass."""
    radii = rng.uniform(*radius_mm) * rng.uniform(0.88, 1.12, (2, 3))
    offset = rng.normal(size=3)
    offset *= 0.45 * radii.mean() / np.linalg.norm(offset)
    return [Blob(structure, centre, radii[0], over), Blob(structure, centre + offset, 0.8 * radii[1], over)]
