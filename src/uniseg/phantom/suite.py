"""The embedded phantom suite: eleven partially labelled datasets of made-up patients.

They mirror the eleven datasets of UniSeg (Ye et al., MICCAI 2023) in modality, channel count and class count. Every
trunk holds all organs and tumours; a dataset labels its own target only. The full truth is kept aside, for analysis.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from joblib import Parallel, delayed
from rich.progress import track
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from uniseg.environment import end_with_parent
from uniseg.errors import InputError
from uniseg.files import read_json, write_atomically
from uniseg.phantom.anatomy import STRUCTURES, VALUE, Blob, draw_head, draw_trunk, draw_waves, structure_map

VERSION = 1  # counted up when the same settings begin to give other files
SETTINGS_FILE = "suite.json"
UNSEEN = "unseen"  # a folder with one CT that belongs to no dataset
Range = tuple[float, float]


@dataclass(frozen=True)
class Study:
    """What is scanned, and how finely.

    Attributes:
        draw: the generator of the anatomy.
        tumours: structures that come and go together -> share of the patients who have them.
        field_mm: range of the field of view along (z, y, x).
        spacing_mm: range of the voxel size (along z, in plane).
    """

    draw: Callable[[np.random.Generator], list[Blob]]
    tumours: Mapping[tuple[str, ...], float]
    field_mm: tuple[Range, Range, Range]
    spacing_mm: tuple[Range, Range]


SITES = ("lung_tumour", "liver_tumour", "kidney_tumour", "pancreas_tumour", "colon_tumour")
REGIONS = ("oedema", "non_enhancing", "enhancing")
TRUNK_FIELD = ((120, 160), (160, 200), (160, 200))

TRUNK = Study(
    draw_trunk, {**{(site,): 0.92 for site in SITES}, ("lesion",): 0.0}, TRUNK_FIELD, ((2.5, 6.0), (1.8, 3.5))
)
TRUNK_FDG = Study(
    draw_trunk, {**{(site,): 0.2 for site in SITES}, ("lesion",): 0.92}, TRUNK_FIELD, ((3.0, 5.0), (2.5, 4.0))
)
HEAD = Study(draw_head, {REGIONS: 0.92}, ((135, 160), (145, 165), (145, 165)), ((2.0, 4.0), (1.8, 3.0)))


@dataclass(frozen=True)
class PhantomTask:
    """One dataset of the suite.

    Attributes:
        name: without the prefix ``phantom_``.
        modalities: in channel order.
        targets: class name -> the structures it is made of, without the background.
        study: the patients and their scans.
        focus_mm: patient z around which its own site centres the field of view.
    """

    name: str
    modalities: tuple[str, ...]
    targets: Mapping[str, tuple[str, ...]]
    study: Study = TRUNK
    focus_mm: float = 0.0

    @property
    def dataset(self) -> str:
        return f"phantom_{self.name}"

    @property
    def classes(self) -> tuple[str, ...]:
        return ("background", *self.targets)

    def label(self, structures: np.ndarray) -> np.ndarray:
        """uint8 class [Z, Y, X] of a structure map [Z, Y, X]."""
        values = np.zeros(len(STRUCTURES), np.uint8)
        for value, names in enumerate(self.targets.values(), start=1):
            values[[VALUE[name] for name in names]] = value
        return values[structures]


TASKS = (
    PhantomTask("liver", ("CT",), {"liver": ("liver", "hepatic_vessel"), "tumour": ("liver_tumour",)}),
    PhantomTask("kidney", ("CT",), {"kidney": ("kidney",), "tumour": ("kidney_tumour",)}, focus_mm=-18),
    PhantomTask("hepatic_vessel", ("CT",), {"vessel": ("hepatic_vessel",), "tumour": ("liver_tumour",)}),
    PhantomTask("pancreas", ("CT",), {"pancreas": ("pancreas",), "tumour": ("pancreas_tumour",)}, focus_mm=-8),
    PhantomTask("colon", ("CT",), {"tumour": ("colon_tumour",)}, focus_mm=-32),
    PhantomTask("lung", ("CT",), {"tumour": ("lung_tumour",)}, focus_mm=36),
    PhantomTask("spleen", ("CT",), {"spleen": ("spleen",)}, focus_mm=5),
    PhantomTask("vertebrae", ("CT",), {"vertebra": ("vertebra",)}),
    PhantomTask("prostate", ("T2",), {"prostate": ("prostate",)}, focus_mm=-65),
    PhantomTask("brain_tumour", ("T1", "T1ce", "T2", "FLAIR"), {name: (name,) for name in REGIONS}, HEAD),
    PhantomTask("whole_body_tumour", ("CT", "PET"), {"tumour": (*SITES, "lesion")}, TRUNK_FDG),
)

MR_CHANNELS = ("T1", "T1ce", "T2", "FLAIR")

# Per structure: the signal in each of MR_CHANNELS, in arbitrary units.
MR = {
    "fat": (420, 430, 380, 300), "muscle": (160, 180, 90, 110), "lung": (20, 20, 25, 20), "airway": (5, 5, 5, 5),
    "heart": (150, 250, 120, 120),
    "rib": (120, 120, 110, 90), "vertebra": (260, 260, 200, 170), "spinal_canal": (90, 90, 480, 90),
    "pelvis": (260, 260, 230, 170),
    "liver": (220, 280, 130, 140), "hepatic_vessel": (120, 350, 60, 80), "kidney": (180, 320, 260, 200),
    "spleen": (160, 260, 230, 200),
    "pancreas": (220, 280, 170, 150), "stomach": (90, 100, 420, 120), "small_bowel": (140, 200, 280, 150),
    "colon": (140, 180, 220, 150),
    "bowel_gas": (5, 5, 5, 5), "aorta": (60, 400, 30, 40), "vena_cava": (80, 380, 40, 50), "bladder": (70, 75, 560, 70),
    "prostate": (160, 200, 250, 180),
    "lung_tumour": (150, 250, 260, 220), "liver_tumour": (140, 180, 250, 220), "kidney_tumour": (150, 240, 300, 240),
    "pancreas_tumour": (140, 180, 240, 210), "colon_tumour": (150, 240, 250, 220), "lesion": (150, 250, 260, 230),
    "scalp": (400, 410, 320, 260), "skull": (50, 50, 40, 40), "csf": (70, 70, 560, 60),
    "grey_matter": (190, 200, 250, 240),
    "white_matter": (270, 280, 180, 190), "ventricle": (65, 70, 580, 50), "oedema": (180, 185, 390, 400),
    "non_enhancing": (110, 110, 460, 210),
    "enhancing": (200, 440, 300, 320),
}  # fmt: skip

# Per structure: HU without contrast medium, HU added at the full portal phase, sd of the texture in HU.
CT = {
    "background": (-1000, 0, 0), "table": (60, 0, 10), "fat": (-95, 0, 8), "muscle": (52, 12, 6),
    "lung": (-800, 15, 50), "airway": (-960, 0, 0),
    "heart": (45, 90, 6), "rib": (420, 0, 60), "vertebra": (330, 0, 60), "spinal_canal": (25, 0, 4),
    "pelvis": (380, 0, 60),
    "liver": (58, 42, 4), "hepatic_vessel": (42, 140, 4), "kidney": (34, 120, 8), "spleen": (50, 62, 4),
    "pancreas": (42, 50, 8),
    "stomach": (18, 5, 12), "small_bowel": (28, 30, 16), "colon": (22, 14, 18), "bowel_gas": (-850, 0, 40),
    "aorta": (42, 150, 4),
    "vena_cava": (42, 110, 6), "bladder": (4, 0, 2), "prostate": (40, 25, 5), "lung_tumour": (32, 28, 8),
    "liver_tumour": (24, 8, 8),
    "kidney_tumour": (26, 32, 12), "pancreas_tumour": (8, 12, 7), "colon_tumour": (62, 60, 8), "lesion": (38, 30, 8),
}  # fmt: skip

# Per structure: SUV, log sd between patients. Hot organs are no tumours.
PET = {
    "background": (0.02, 0.3), "table": (0.02, 0.3), "fat": (0.3, 0.2), "muscle": (0.7, 0.2), "lung": (0.5, 0.2),
    "airway": (0.3, 0.2), "heart": (3.5, 0.6),
    "rib": (0.9, 0.2), "vertebra": (1.5, 0.2), "spinal_canal": (1.2, 0.2), "pelvis": (1.2, 0.2), "liver": (2.3, 0.15),
    "hepatic_vessel": (1.8, 0.1),
    "kidney": (4.5, 0.4), "spleen": (1.9, 0.2), "pancreas": (1.4, 0.2), "stomach": (1.8, 0.4),
    "small_bowel": (1.6, 0.4), "colon": (1.6, 0.5),
    "bowel_gas": (0.5, 0.3), "aorta": (1.6, 0.1), "vena_cava": (1.5, 0.1), "bladder": (14, 0.4), "prostate": (1.6, 0.2),
    "lung_tumour": (8, 0.25),
    "liver_tumour": (9, 0.25), "kidney_tumour": (9, 0.25), "pancreas_tumour": (8, 0.25), "colon_tumour": (9, 0.25),
    "lesion": (8, 0.25),
}  # fmt: skip

ORIENTATIONS = ("RAS", "LPS", "LAS", "RPS", "LPI", "PIR", "ASL", "SAR")


@dataclass(frozen=True)
class Style:
    """How a site scans: each knob is a fraction from 0 to 1 of its range."""

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


def draw_patient(rng: np.random.Generator, study: Study, *, all_tumours: bool) -> list[Blob]:
    """The blobs of one patient; each tumour site is empty in its share of patients unless ``all_tumours``."""
    blobs = study.draw(rng)
    absent = {
        name
        for group, share in study.tumours.items()
        if rng.uniform() >= share and not (all_tumours and share)
        for name in group
    }
    return [blob for blob in blobs if blob.structure not in absent]


def _columns(table: Mapping[str, Sequence[float]]) -> np.ndarray:
    """float32 [columns, structures] of a table above, 0 where it has no row."""
    return np.array([table.get(name, np.zeros(len(table["fat"]))) for name in STRUCTURES], np.float32).T


def _noise(rng: np.random.Generator, shape: Sequence[int], sigma: float | np.ndarray) -> np.ndarray:
    """Gaussian noise float32 [Z, Y, X] of sd 1, smooth over ``sigma`` voxels."""
    noise = gaussian_filter(rng.standard_normal(shape, np.float32), sigma)
    return noise / noise.std()


def render_ct(rng: np.random.Generator, structures: np.ndarray, spacing_mm: np.ndarray, style: Style) -> np.ndarray:
    """int16 HU [Z, Y, X]."""
    plain, enhancement, texture = _columns(CT)
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
    suv, spread = _columns(PET)
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
    signal = _columns(MR)[channel] * rng.uniform(0.92, 1.08, len(STRUCTURES)).astype(np.float32)
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


@dataclass(frozen=True)
class PhantomCase:
    """One made-up scan.

    Attributes:
        images: one array [Z, Y, X] per modality.
        structures: uint8 [Z, Y, X], positions in ``STRUCTURES``.
        affine: [4, 4], index (z, y, x) -> scanner mm (superior, posterior, left).
        orientation: axis code of the file, such as ``PIR``.
    """

    images: tuple[np.ndarray, ...]
    structures: np.ndarray
    affine: np.ndarray
    orientation: str


def make_case(seed: int, task_index: int, case_index: int, *, shared_style: bool) -> PhantomCase:
    """A pure function of its arguments; case 0 has every tumour of its study."""
    task = TASKS[task_index]
    rng = np.random.default_rng([seed, task_index, case_index + 1])  # a last 0 would repeat the site's stream
    style = draw_style(np.random.default_rng([seed, task_index]), rng, shared_style)
    peers = [peer for peer in TASKS if peer.modalities == task.modalities] if shared_style else [task]
    shape, affine = draw_grid(rng, task.study, style)
    pose = draw_pose(rng, float(np.mean([peer.focus_mm for peer in peers])))
    blobs = [
        blob
        for blob in draw_patient(rng, task.study, all_tumours=case_index == 0)
        if blob.structure != "table" or style.table < 0.5
    ]
    structures = structure_map(blobs, draw_waves(rng), shape, pose @ affine)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    images = tuple(RENDERERS[modality](rng, structures, spacing_mm, style) for modality in task.modalities)
    return PhantomCase(images, structures, affine, str(rng.choice(ORIENTATIONS)))


def _write_nifti(path: Path, array: np.ndarray, case: PhantomCase) -> None:
    """Write [Z, Y, X] as x, y, z in the case's orientation; NIfTI's world is (right, anterior, superior)."""
    to_ras = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    image = nib.Nifti1Image(array.T, to_ras @ case.affine[:, [2, 1, 0, 3]])
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(case.orientation)
    )
    image = image.as_reoriented(turn)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def write_case(root: Path, seed: int, task_index: int, case_index: int, shared_style: bool) -> None:
    """Make one case; write its images, label and truth."""
    task = TASKS[task_index]
    case_id = f"{task.name}_{case_index:03d}"
    case = make_case(seed, task_index, case_index, shared_style=shared_style)
    for channel, image in enumerate(case.images):
        _write_nifti(root / task.dataset / "imagesTr" / f"{case_id}_{channel:04d}.nii.gz", image, case)
    _write_nifti(root / task.dataset / "labelsTr" / f"{case_id}.nii.gz", task.label(case.structures), case)
    _write_nifti(root / "truth" / f"{case_id}.nii.gz", case.structures, case)


def _write_json(path: Path, values: Mapping) -> None:
    """All of the file or nothing of it."""
    with write_atomically(path) as part:
        part.write_text(json.dumps(values, indent=2) + "\n")


def _prepare_folders(root: Path, num_cases: int) -> None:
    """Empty folders for all datasets, each with its ``dataset.json``, after whatever was there."""
    (root / SETTINGS_FILE).unlink(missing_ok=True)
    for folder in ("truth", UNSEEN, *(task.dataset for task in TASKS)):
        shutil.rmtree(root / folder, ignore_errors=True)
    for task in TASKS:
        for folder in ("imagesTr", "labelsTr"):
            (root / task.dataset / folder).mkdir(parents=True)
        channels = {str(channel): name for channel, name in enumerate(task.modalities)}
        labels = {name: value for value, name in enumerate(task.classes)}
        description = {"channel_names": channels, "labels": labels, "numTraining": num_cases, "file_ending": ".nii.gz"}
        _write_json(root / task.dataset / "dataset.json", description)
    for folder in ("truth", UNSEEN):
        (root / folder).mkdir()
    _write_json(root / "truth" / "structures.json", VALUE)


def write_suite(root: Path, *, seed: int, num_cases: int, shared_style: bool) -> None:
    """Write the eleven datasets, one more unlabelled CT, all their truth below ``root``; a suite of the same settings
    is left as it is.

    Args:
        root: its folders ``phantom_*`` of the suite, ``unseen`` and ``truth`` are replaced.
        num_cases: cases, each of an own patient, in every dataset.
        shared_style: all datasets of a modality are scanned alike, so that the style doesn't tell the task.

    Raises:
        InputError: ``num_cases`` is below 1, or what describes the suite that lies there is damaged.
    """
    if num_cases < 1:
        raise InputError("phantom suite", f"num_cases {num_cases}", "1 or more", "correct the number of cases")
    settings = {"version": VERSION, "seed": seed, "num_cases": num_cases, "shared_style": shared_style}
    written = root / SETTINGS_FILE
    if (
        written.exists()
        and read_json(written, "the settings of a phantom suite", "delete it: the suite is then written anew")
        == settings
    ):
        return
    _prepare_folders(root, num_cases)
    jobs = [
        delayed(write_case)(root, seed, task, case, shared_style)
        for task in range(len(TASKS))
        for case in range(num_cases)
    ]
    done = Parallel(n_jobs=-1, return_as="generator_unordered", initializer=end_with_parent)(jobs)
    for _ in track(done, "Writing phantoms", total=len(jobs)):
        pass
    unseen = make_case(seed, 0, num_cases, shared_style=shared_style)
    _write_nifti(root / UNSEEN / f"{UNSEEN}_0000.nii.gz", unseen.images[0], unseen)
    _write_nifti(root / "truth" / f"{UNSEEN}.nii.gz", unseen.structures, unseen)
    _write_json(written, settings)
