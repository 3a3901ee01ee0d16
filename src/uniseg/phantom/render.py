"""How a phantom is scanned: the site's style, the voxel grid, the patient's pose; images of a structure map."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from uniseg.phantom.shapes import STRUCTURES, Blob
from uniseg.phantom.tissue import CT, MR, MR_CHANNELS, PET, columns

Range = tuple[float, float]


@dataclass(frozen=True)
class Study:
    """What is scanned, and how finely.

    Attributes:
        draw: the generator of the anatomy.
        tumours: structures that come and go together -> fraction of the patients who have them.
        field_mm: range of the field of view along (z, y, x).
        spacing_mm: range of the voxel size (along z, in plane).

    Examples:
        >>> Study(lambda rng: [], {}, ((120, 160),) * 3, ((2, 4), (2, 3))).spacing_mm[0]
        (2, 4)
    """

    draw: Callable[[np.random.Generator], list[Blob]]
    tumours: Mapping[tuple[str, ...], float]
    field_mm: tuple[Range, Range, Range]
    spacing_mm: tuple[Range, Range]


@dataclass(frozen=True)
class Style:
    """How a site scans: each knob is a fraction from 0 to 1 of its range.

    Examples:
        >>> bool(0 <= draw_style(np.random.default_rng(0), np.random.default_rng(1), shared=False).noise <= 1)
        True
    """

    noise: float
    sharpness: float
    contrast: float
    gain: float
    offset: float
    table: float
    spacing_z: float
    spacing_in_plane: float
    field: float


def draw_style(site: np.random.Generator, case: np.random.Generator, shared: bool) -> Style:
    """A site's own style with a little wear per case or, if ``shared``, any style in each case."""
    num_knobs = len(Style.__dataclass_fields__)
    habit, chance = site.uniform(size=num_knobs), case.uniform(size=num_knobs)
    return Style(*(chance if shared else 0.8 * habit + 0.2 * chance))


def _between(limits: Range, fraction: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * fraction


def draw_grid(rng: np.random.Generator, study: Study, style: Style) -> tuple[tuple[int, int, int], np.ndarray]:
    """A voxel grid around the scanner's origin, oblique by up to 10 degrees in four of ten cases.

    Returns:
        (Z, Y, X), and the affine [4, 4]: index (z, y, x) -> scanner mm (superior, posterior, left).
    """
    in_plane = _between(study.spacing_mm[1], style.spacing_in_plane)
    spacing = np.array([max(in_plane, _between(study.spacing_mm[0], style.spacing_z)), in_plane, in_plane])
    shape = np.round(
        [_between(limits, style.field) / mm for limits, mm in zip(study.field_mm, spacing, strict=True)]
    ).astype(int)
    axis = rng.normal(size=3)
    degrees = rng.uniform(3, 10) * (rng.uniform() < 0.4)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(degrees * axis / np.linalg.norm(axis), degrees=True).as_matrix() * spacing
    affine[:3, 3] = -affine[:3, :3] @ (shape - 1) / 2
    return tuple(shape.tolist()), affine


def draw_pose(rng: np.random.Generator, focus_mm: float) -> np.ndarray:
    """Affine [4, 4] from scanner mm to patient mm: the patient's size (0.84 to 1.17), turn and place on the table."""
    scale = rng.uniform(0.88, 1.12) * rng.uniform(0.96, 1.04, 3)
    turn = Rotation.from_rotvec(rng.uniform(-7, 7, 3), degrees=True).as_matrix()
    pose = np.eye(4)
    pose[:3, :3] = turn / scale
    pose[:3, 3] = rng.uniform(-1, 1, 3) * (10, 12, 14) + (focus_mm, 0, 0)
    return pose


def _noise(rng: np.random.Generator, shape: Sequence[int], sigma: float | np.ndarray) -> np.ndarray:
    """Gaussian noise float32 [Z, Y, X] of sd 1, smooth over ``sigma`` voxels."""
    noise = gaussian_filter(rng.standard_normal(shape, np.float32), sigma)
    return noise / noise.std()


def render_ct(rng: np.random.Generator, structures: np.ndarray, spacing_mm: np.ndarray, style: Style) -> np.ndarray:
    """int16 HU [Z, Y, X]."""
    plain, enhancement, texture = columns(CT)
    hu = (
        plain
        + rng.normal(0, 6, len(plain)).astype(np.float32) * (plain > -500)
        + enhancement * _between((0.65, 1.1), style.contrast)
    )
    image = hu[structures] + texture[structures] * _noise(rng, structures.shape, 3.5 / spacing_mm)
    image = gaussian_filter(image, _between((1.6, 0.7), style.sharpness) / spacing_mm)
    image += _between((6, 15), style.noise) * _noise(rng, structures.shape, _between((0.8, 0.4), style.sharpness))
    image = image * _between((0.96, 1.04), style.gain) + _between((-15, 15), style.offset)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def render_pet(rng: np.random.Generator, structures: np.ndarray, spacing_mm: np.ndarray, style: Style) -> np.ndarray:
    """float32 SUV [Z, Y, X]."""
    suv, spread = columns(PET)
    suv = suv * np.exp(spread * rng.standard_normal(len(STRUCTURES), np.float32))
    image = gaussian_filter(suv[structures], _between((2.8, 2.0), style.sharpness) / spacing_mm)
    image *= 1 + _between((0.05, 0.15), style.noise) * _noise(rng, structures.shape, 0.7)
    return np.maximum(image, 0)


def _bias_field(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Smooth factor float32 [Z, Y, X] around 1: the exponential of a random quadratic."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    slope, bend = rng.normal(0, 0.12, (2, 3)).astype(np.float32)
    return np.exp(sum(a * axis + b * (axis**2 - 0.33) for a, b, axis in zip(slope, bend, axes, strict=True)))


def render_mr(
    channel: int, rng: np.random.Generator, structures: np.ndarray, spacing_mm: np.ndarray, style: Style
) -> np.ndarray:
    """int16 [Z, Y, X] in units of the site; ``channel`` is a column of ``MR``."""
    signal = columns(MR)[channel] * rng.uniform(0.92, 1.08, len(STRUCTURES)).astype(np.float32)
    signal = 600 * (signal / 600) ** np.float32(_between((0.8, 1.2), style.contrast))
    image = signal[structures] * (1 + 0.05 * _noise(rng, structures.shape, 3 / spacing_mm))
    image = gaussian_filter(image, _between((1.3, 0.6), style.sharpness) / spacing_mm) * _bias_field(
        rng, structures.shape
    )
    real, imaginary = _between((8, 20), style.noise) * rng.standard_normal((2, *structures.shape), np.float32)
    return np.rint(np.hypot(image + real, imaginary) * _between((0.4, 3.0), style.gain)).astype(np.int16)


RENDERERS = {"CT": render_ct, "PET": render_pet} | {
    name: partial(render_mr, channel) for channel, name in enumerate(MR_CHANNELS)
}
