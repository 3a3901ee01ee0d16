"""Random phantom patients: every structure of a miniature trunk or head, as a union of ellipsoids.

All points are in patient millimetres ordered (z, y, x) = towards (superior, posterior, left), so the liver has x < 0.
A patient is a list of blobs, painted in order, seen through a smooth warp.
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


def _organ(
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


def _tube(
    structure: str,
    knots: Sequence[Sequence[float]],
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


def _inside(rng: np.random.Generator, organ: Blob, depth: float) -> np.ndarray:
    """A point [3] mm of an ellipsoid, at most ``depth`` of the way to its surface."""
    direction = rng.normal(size=3)
    return organ.centre + organ.axes @ (
        organ.radii * direction / np.linalg.norm(direction) * depth * rng.uniform() ** (1 / 3)
    )


def _tumour(
    rng: np.random.Generator, structure: str, centre: np.ndarray, radius_mm: tuple[float, float], over: tuple[str, ...]
) -> list[Blob]:
    """Two overlapping ellipsoids: a lobulated mass."""
    radii = rng.uniform(*radius_mm) * rng.uniform(0.88, 1.12, (2, 3))
    offset = rng.normal(size=3)
    offset *= 0.45 * radii.mean() / np.linalg.norm(offset)
    return [Blob(structure, centre, radii[0], over), Blob(structure, centre + offset, 0.8 * radii[1], over)]


def _wall(rng: np.random.Generator) -> list[Blob]:
    fat_mm = rng.uniform(3, 10)
    width, depth = rng.uniform(57, 63), rng.uniform(42, 46)
    rings = (("fat", 3 + fat_mm), ("muscle", 4), ("fat", 0))
    return [Blob(name, np.zeros(3), np.array([400, depth + extra, width + extra])) for name, extra in rings]


def _spine(rng: np.random.Generator) -> list[Blob]:
    phase, bend_mm, pitch_mm = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0, 5, 2), rng.uniform(17, 21)
    blobs = []
    for z in np.arange(-100, 101, pitch_mm) + rng.uniform(0, pitch_mm):
        y, x = bend_mm * np.sin(z / 40 + phase)
        parts = (
            ((z, 22 + y, x), (0.38 * pitch_mm, 9, 12.5), 4),
            ((z, 33 + y, x), (0.36 * pitch_mm, 8.5, 9.5), 2),
            ((z, 33 + y, x), (3.5, 4, 20), 2),
            ((z - 3, 40 + y, x), (5, 7, 3.2), 2),
        )
        blobs += [Blob("vertebra", np.array(centre), np.array(radii), power=power) for centre, radii, power in parts]
    canal = [
        (z, 33 + bend_mm[0] * np.sin(z / 40 + phase[0]), bend_mm[1] * np.sin(z / 40 + phase[1]))
        for z in range(-110, 111, 10)
    ]
    return blobs + _tube("spinal_canal", canal, (4.5, 4.5))


def _ribs(rng: np.random.Generator, width: float, depth: float) -> list[Blob]:
    blobs, drop_mm, pitch_mm = [], rng.uniform(12, 24), rng.uniform(13, 16)
    angle = np.linspace(0.3, 2.35, 10)
    for top in np.arange(18, 90, pitch_mm):
        for side in (-1, 1):
            knots = np.stack(
                [top + 8 - drop_mm * angle / 2, depth * np.cos(angle), side * width * np.sin(angle)], axis=1
            )
            blobs += _tube("rib", knots, (3.2, 3.4, 3.0))
    return blobs


def _chest(rng: np.random.Generator) -> list[Blob]:
    lungs = [_organ(rng, "lung", (52, 0, side * 32), (40, 33, 22), over=("fat",)) for side in (-1, 1)]
    mediastinum = Blob("muscle", np.array([75.0, 2, 0]), np.array([60, 22, 11.0]), over=("fat", "lung"))
    blobs = [mediastinum, *lungs, _organ(rng, "heart", (38, -16, 9), (17, 16, 18))]
    blobs += _tube("airway", [(110, 3, 0), (75, 3, 0), (62, 4, 0)], (5, 4.5))
    for lung, side in zip(lungs, (-1, 1), strict=True):
        for _ in range(3):
            blobs += _tube(
                "airway",
                [(62, 4, side * 2), (58, 4, side * 14), _inside(rng, lung, 0.8)],
                (3.2, 2),
                over=("lung", "muscle", "fat", "airway"),
            )
    for lung in rng.permutation([0, 1])[: rng.integers(1, 3)]:
        centre = lungs[lung].centre + rng.uniform(-1, 1, 3) * (13, 16, 9) - (5, 0, 0)
        blobs += _tumour(rng, "lung_tumour", centre, (10, 15), over=("lung", "airway", "fat"))
    return blobs


def _liver(rng: np.random.Generator) -> list[Blob]:
    right = _organ(rng, "liver", (1, -1, -27), (27, 30, 27))
    left = _organ(rng, "liver", (7, -17, 1), (14, 14, 26), over=("fat", "lung", "muscle"))
    hilum = np.array([-4, -2, -12]) + rng.normal(0, 2, 3)
    blobs = [right, left]
    right_ends = right.centre + right.radii * np.array([(0.6, -0.35, -0.35), (-0.6, -0.3, -0.3), (0.1, 0.65, -0.35)])
    for end in (*right_ends, left.centre + np.array([0, 0, 12])):
        middle = (hilum + end) / 2 + rng.normal(0, 4, 3)
        blobs += _tube("hepatic_vessel", [hilum, middle, end + rng.normal(0, 3, 3)], (6.5, 6, 5), over=("liver",))
    blobs += _tube("hepatic_vessel", [(-12, 2, -5), hilum], (6.5, 6.5))
    for _ in range(rng.integers(1, 3)):
        blobs += _tumour(rng, "liver_tumour", _inside(rng, right, 0.6), (11, 16), over=("liver", "hepatic_vessel"))
    return blobs


def _kidneys(rng: np.random.Generator) -> list[Blob]:
    blobs, sick = [], rng.integers(2)
    tumours = []
    for number, side in enumerate((-1, 1)):
        kidney = _organ(rng, "kidney", (-22 + 3 * side, 17, side * 35), (20, 12, 12))
        blobs += [
            kidney,
            Blob("fat", kidney.centre - np.array([0, 2, side * 11.0]), np.array([7, 5, 6.0]), over=("kidney",)),
        ]
        if number == sick:
            outward = np.array([rng.choice([-11.0, 11]), rng.uniform(-5, 0), side * rng.uniform(2, 7)])
            tumours = _tumour(
                rng, "kidney_tumour", kidney.centre + outward, (11, 15), over=("kidney", "fat", "small_bowel", "colon")
            )
    return blobs + tumours


def _upper_abdomen(rng: np.random.Generator) -> list[Blob]:
    stomach = np.array([(14, 2, 30), (4, -18, 34), (-8, -24, 16)]) + rng.normal(0, 3, (3, 3))
    pancreas = np.array([(-17, -6, -14), (-9, -10, 2), (-5, -3, 18), (0, 4, 33)]) + rng.normal(0, 2.5, (4, 3))
    site = CubicSpline(np.linspace(0, 1, 4), pancreas)(rng.uniform(0.05, 0.9))
    return [
        _organ(rng, "spleen", (6, 15, 44), (21, 17, 10), tilt=20),
        *_tube("stomach", stomach, (13, 14, 8)),
        *_tube("bowel_gas", stomach[:2] - (0, 5, 0), (7, 8), over=("stomach",)),
        *_tube("pancreas", pancreas, (11, 9.5, 9.5, 9)),
        *_tumour(rng, "pancreas_tumour", site, (11, 15), over=("pancreas", "fat", "small_bowel", "stomach")),
    ]


def _vessels(rng: np.random.Generator) -> list[Blob]:
    sway = rng.normal(0, 1.5, (2, 5))
    z = np.array([-60, -25, 0, 40, 110])
    aorta = np.stack([z, 7 + sway[0], 5 + sway[1]], axis=1)
    cava = np.stack([z[:4], 7 - sway[0, :4], -9 + sway[1, :4]], axis=1)
    iliac = [_tube("aorta", [aorta[0], (-74, 5, side * 14), (-100, -4, side * 26)], (4.5, 3.8)) for side in (-1, 1)]
    return [*_tube("vena_cava", cava, (6, 6)), *_tube("aorta", aorta, (6, 6)), *iliac[0], *iliac[1]]


def _bowel(rng: np.random.Generator) -> list[Blob]:
    right = [(-52, -8, -38), (-28, -10, -43), (-32, -28, -20), (-36, -31, 10)]
    left = [(-14, -16, 42), (-40, 4, 45), (-58, 2, 36), (-58, 0, 14), (-74, 14, 2), (-100, 18, 0)]
    course = np.array(right + left) + rng.normal(0, 3, (len(right + left), 3))
    at = np.linspace(0, 1, len(course))
    path = CubicSpline(at, course)
    loops = [
        Blob("small_bowel", np.array(rng.uniform((-54, -24, -24), (-24, 2, 26))), rng.uniform(6, 10, 3), over=("fat",))
        for _ in range(14)
    ]
    gas = []
    for start in rng.uniform(0, 0.85, 4):
        gas += _tube("bowel_gas", path(np.linspace(start, start + 0.1, 4)) - (0, 2, 0), (3.5, 5, 3.5), over=("colon",))
    tumour = _tumour(
        rng, "colon_tumour", path(rng.uniform(0.08, 0.75)), (12, 16), over=("colon", "bowel_gas", "fat", "small_bowel")
    )
    return [*loops, *_tube("colon", course, (10, 9, 8, 8, 8), ripple_mm=1.2), *gas, *tumour]


def _pelvis(rng: np.random.Generator) -> list[Blob]:
    full = rng.uniform(0.8, 1.25)
    gland_mm = rng.uniform(12, 16)
    bones = []
    for side in (-1, 1):
        tilt = Rotation.from_euler("xyz", (side * 25, 0, 0), degrees=True).as_matrix()
        bones += [
            Blob("pelvis", np.array([-62, 14, side * 44.0]), np.array([22, 24, 5.0]), axes=tilt),
            Blob("pelvis", np.array([-92, 0, side * 40.0]), np.array([16, 15, 15.0])),
        ]
    floor = Blob("muscle", np.array([-86.0, -5, 0]), np.array([16, 19, 24.0]), over=("fat",))
    return [
        *bones,
        floor,
        Blob("bladder", np.array([-62.0, -16, 0]) + rng.normal(0, 2, 3), full * np.array([13, 14, 17])),
        _organ(rng, "prostate", (-82, -6, 0), (0.9 * gland_mm, gland_mm, 1.15 * gland_mm), shift_mm=2),
    ]


def _muscles(rng: np.random.Generator) -> list[Blob]:
    thick = rng.uniform(6, 9)
    blobs = []
    for side in (-1, 1):
        blobs += _tube(
            "muscle", [(-90, 2, side * 26), (-50, 16, side * 20), (-5, 22, side * 15)], (thick, thick, 4), over=("fat",)
        )
        blobs += [Blob("muscle", np.array([0, 40.0, side * 15]), np.array([400, 8, 13]), over=("fat",))]
    return blobs


def _lesions(rng: np.random.Generator) -> list[Blob]:
    chest = [(50, 5, -12), (44, 2, 14), (62, -22, 0), (58, -5, 46)]
    abdomen = [(20, 10, 0), (-28, 4, 12), (-40, 6, -10), (0, 22, 0), (5, -5, -35)]
    pelvis = [(-62, 4, 30), (-62, 6, -30), (-50, 30, 28)]
    sites = rng.permutation(np.array(chest + abdomen + pelvis, float))[: rng.integers(2, 5)] + rng.normal(0, 4, 3)
    body = tuple(name for name in STRUCTURES if name not in ("background", "table"))
    return [blob for site in sites for blob in _tumour(rng, "lesion", site, (11, 16), over=body)]


def draw_trunk(rng: np.random.Generator) -> list[Blob]:
    """A trunk about 150 mm wide, with a tumour at every site; it reaches beyond +-100 mm in z."""
    wall = _wall(rng)
    table = Blob(
        "table", np.array([0, wall[0].radii[1] + 5, 0]), np.array([400, 3.5, 62]), over=("background",), power=4
    )
    return [
        *wall, *_muscles(rng), *_chest(rng), *_ribs(rng, wall[1].radii[2] - 2, wall[1].radii[1] - 2), *_bowel(rng),
        *_upper_abdomen(rng),
        *_liver(rng), *_kidneys(rng), *_vessels(rng), *_pelvis(rng), *_spine(rng), *_lesions(rng), table,
    ]  # fmt: skip


def draw_head(rng: np.random.Generator) -> list[Blob]:
    """A head about 140 mm long, with a tumour of three regions."""
    size = np.array([54, 62, 50]) * rng.uniform(0.93, 1.07, 3)
    shells = [("scalp", 10), ("skull", 5), ("csf", 0), ("grey_matter", -3), ("white_matter", -10)]
    blobs = [Blob(name, np.zeros(3), size + extra) for name, extra in shells]
    for side in (-1, 1):
        horn = np.array([(2, -24, side * 5), (8, -5, side * 6), (4, 20, side * 13), (-8, 8, side * 18)]) + rng.normal(
            0, 1.5, (4, 3)
        )
        blobs += _tube("ventricle", horn, (4, 6, 5, 3.5))
        blobs += [_organ(rng, "grey_matter", (0, -2, side * 17), (8, 13, 6), shift_mm=1)]
        blobs += [
            Blob(
                "csf",
                np.array([10.0, y, side * (size[2] - 8)]),
                np.array([22, 2.2, 9]),
                over=("grey_matter", "white_matter"),
            )
            for y in (-18, 14)
        ]
    brain = Blob("white_matter", np.zeros(3), size - 22, axes=np.eye(3))
    centre, core_mm = _inside(rng, brain, 1.0), rng.uniform(13, 18)
    within = ("csf", "grey_matter", "white_matter", "ventricle", "oedema")
    halo = [
        b
        for _ in range(2)
        for b in _tumour(rng, "oedema", centre + rng.normal(0, 5, 3), (core_mm + 6, core_mm + 11), over=within)
    ]
    ring = _tumour(rng, "enhancing", centre, (core_mm, core_mm), over=within)
    core = Blob(
        "non_enhancing",
        0.7 * centre + 0.3 * ring[1].centre,
        ring[0].radii * rng.uniform(0.68, 0.8),
        over=("enhancing",),
    )
    return [*blobs, *halo, *ring, core]
