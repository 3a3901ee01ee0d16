"""Random phantom patients: every structure of a miniature trunk or head.

All points are in patient millimetres ordered (z, y, x) = towards (superior, posterior, left), so the liver has x < 0.
"""

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from uniseg.phantom.shapes import STRUCTURES, Blob, organ, point_inside, tube, tumour


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
    return blobs + tube("spinal_canal", canal, (4.5, 4.5))


def _ribs(rng: np.random.Generator, width: float, depth: float) -> list[Blob]:
    blobs, drop_mm, pitch_mm = [], rng.uniform(12, 24), rng.uniform(13, 16)
    angle = np.linspace(0.3, 2.35, 10)
    for top in np.arange(18, 90, pitch_mm):
        for side in (-1, 1):
            knots = np.stack(
                [top + 8 - drop_mm * angle / 2, depth * np.cos(angle), side * width * np.sin(angle)], axis=1
            )
            blobs += tube("rib", knots, (3.2, 3.4, 3.0))
    return blobs


def _chest(rng: np.random.Generator) -> list[Blob]:
    lungs = [organ(rng, "lung", (52, 0, side * 32), (40, 33, 22), over=("fat",)) for side in (-1, 1)]
    mediastinum = Blob("muscle", np.array([75.0, 2, 0]), np.array([60, 22, 11.0]), over=("fat", "lung"))
    blobs = [mediastinum, *lungs, organ(rng, "heart", (38, -16, 9), (17, 16, 18))]
    blobs += tube("airway", [(110, 3, 0), (75, 3, 0), (62, 4, 0)], (5, 4.5))
    for lung, side in zip(lungs, (-1, 1), strict=True):
        for _ in range(3):
            blobs += tube(
                "airway",
                [(62, 4, side * 2), (58, 4, side * 14), point_inside(rng, lung, 0.8)],
                (3.2, 2),
                over=("lung", "muscle", "fat", "airway"),
            )
    for lung in rng.permutation([0, 1])[: rng.integers(1, 3)]:
        centre = lungs[lung].centre + rng.uniform(-1, 1, 3) * (13, 16, 9) - (5, 0, 0)
        blobs += tumour(rng, "lung_tumour", centre, (10, 15), over=("lung", "airway", "fat"))
    return blobs


def _liver(rng: np.random.Generator) -> list[Blob]:
    right = organ(rng, "liver", (1, -1, -27), (27, 30, 27))
    left = organ(rng, "liver", (7, -17, 1), (14, 14, 26), over=("fat", "lung", "muscle"))
    hilum = np.array([-4, -2, -12]) + rng.normal(0, 2, 3)
    blobs = [right, left]
    right_ends = right.centre + right.radii * np.array([(0.6, -0.35, -0.35), (-0.6, -0.3, -0.3), (0.1, 0.65, -0.35)])
    for end in (*right_ends, left.centre + np.array([0, 0, 12])):
        middle = (hilum + end) / 2 + rng.normal(0, 4, 3)
        blobs += tube("hepatic_vessel", [hilum, middle, end + rng.normal(0, 3, 3)], (6.5, 6, 5), over=("liver",))
    blobs += tube("hepatic_vessel", [(-12, 2, -5), hilum], (6.5, 6.5))
    for _ in range(rng.integers(1, 3)):
        blobs += tumour(rng, "liver_tumour", point_inside(rng, right, 0.6), (11, 16), over=("liver", "hepatic_vessel"))
    return blobs


def _kidneys(rng: np.random.Generator) -> list[Blob]:
    blobs, sick = [], rng.integers(2)
    tumours = []
    for number, side in enumerate((-1, 1)):
        kidney = organ(rng, "kidney", (-22 + 3 * side, 17, side * 35), (20, 12, 12))
        blobs += [
            kidney,
            Blob("fat", kidney.centre - np.array([0, 2, side * 11.0]), np.array([7, 5, 6.0]), over=("kidney",)),
        ]
        if number == sick:
            outward = np.array([rng.choice([-11.0, 11]), rng.uniform(-5, 0), side * rng.uniform(2, 7)])
            tumours = tumour(
                rng, "kidney_tumour", kidney.centre + outward, (11, 15), over=("kidney", "fat", "small_bowel", "colon")
            )
    return blobs + tumours


def _upper_abdomen(rng: np.random.Generator) -> list[Blob]:
    stomach = np.array([(14, 2, 30), (4, -18, 34), (-8, -24, 16)]) + rng.normal(0, 3, (3, 3))
    pancreas = np.array([(-17, -6, -14), (-9, -10, 2), (-5, -3, 18), (0, 4, 33)]) + rng.normal(0, 2.5, (4, 3))
    site = CubicSpline(np.linspace(0, 1, 4), pancreas)(rng.uniform(0.05, 0.9))
    return [
        organ(rng, "spleen", (6, 15, 44), (21, 17, 10), tilt=20),
        *tube("stomach", stomach, (13, 14, 8)),
        *tube("bowel_gas", stomach[:2] - (0, 5, 0), (7, 8), over=("stomach",)),
        *tube("pancreas", pancreas, (11, 9.5, 9.5, 9)),
        *tumour(rng, "pancreas_tumour", site, (11, 15), over=("pancreas", "fat", "small_bowel", "stomach")),
    ]


def _vessels(rng: np.random.Generator) -> list[Blob]:
    sway = rng.normal(0, 1.5, (2, 5))
    z = np.array([-60, -25, 0, 40, 110])
    aorta = np.stack([z, 7 + sway[0], 5 + sway[1]], axis=1)
    cava = np.stack([z[:4], 7 - sway[0, :4], -9 + sway[1, :4]], axis=1)
    iliac = [tube("aorta", [aorta[0], (-74, 5, side * 14), (-100, -4, side * 26)], (4.5, 3.8)) for side in (-1, 1)]
    return [*tube("vena_cava", cava, (6, 6)), *tube("aorta", aorta, (6, 6)), *iliac[0], *iliac[1]]


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
        gas += tube("bowel_gas", path(np.linspace(start, start + 0.1, 4)) - (0, 2, 0), (3.5, 5, 3.5), over=("colon",))
    mass = tumour(
        rng, "colon_tumour", path(rng.uniform(0.08, 0.75)), (12, 16), over=("colon", "bowel_gas", "fat", "small_bowel")
    )
    return [*loops, *tube("colon", course, (10, 9, 8, 8, 8), ripple_mm=1.2), *gas, *mass]


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
        organ(rng, "prostate", (-82, -6, 0), (0.9 * gland_mm, gland_mm, 1.15 * gland_mm), shift_mm=2),
    ]


def _muscles(rng: np.random.Generator) -> list[Blob]:
    thick = rng.uniform(6, 9)
    blobs = []
    for side in (-1, 1):
        blobs += tube(
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
    return [blob for site in sites for blob in tumour(rng, "lesion", site, (11, 16), over=body)]


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
        blobs += tube("ventricle", horn, (4, 6, 5, 3.5))
        blobs += [organ(rng, "grey_matter", (0, -2, side * 17), (8, 13, 6), shift_mm=1)]
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
    centre, core_mm = point_inside(rng, brain, 1.0), rng.uniform(13, 18)
    within = ("csf", "grey_matter", "white_matter", "ventricle", "oedema")
    halo = [
        b
        for _ in range(2)
        for b in tumour(rng, "oedema", centre + rng.normal(0, 5, 3), (core_mm + 6, core_mm + 11), over=within)
    ]
    ring = tumour(rng, "enhancing", centre, (core_mm, core_mm), over=within)
    core = Blob(
        "non_enhancing",
        0.7 * centre + 0.3 * ring[1].centre,
        ring[0].radii * rng.uniform(0.68, 0.8),
        over=("enhancing",),
    )
    return [*blobs, *halo, *ring, core]
