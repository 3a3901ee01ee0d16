"""The embedded phantom suite: eleven partially labelled datasets of made-up patients, with one more to fine-tune on.

They mirror the eleven datasets of UniSeg (Ye et al., MICCAI 2023) in modality, channel count and class count. Every
trunk holds all organs and tumours; a dataset labels its own target only. What the twelfth labels no other does. The
full truth is kept aside, for analysis.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import nibabel as nib
import numpy as np
from joblib import Parallel, delayed
from rich.progress import track

from uniseg.environment import end_with_parent
from uniseg.files import read_json, write_json
from uniseg.phantom.anatomy import draw_head, draw_trunk
from uniseg.phantom.render import RENDERERS, Study, draw_grid, draw_pose, draw_style
from uniseg.phantom.shapes import STRUCTURES, VALUE, Blob, draw_waves, structure_map
from uniseg.settings import SEED, bounded, check_fields, number

VERSION = 1  # counted up when the same settings begin to give other files
SETTINGS_FILE = "suite.json"
WRITTEN = "datasets"  # key of that file
UNSEEN = "unseen"  # a folder with one CT that belongs to no dataset


@dataclass(frozen=True)
class PhantomSettings:
    """Which suite is written.

    Attributes:
        num_cases: of each dataset, each of another patient.
        shared_style: all datasets of a modality are scanned alike, so that the style does not tell the task.

    Raises:
        InputError: a value out of bounds.

    Examples:
        >>> PhantomSettings(num_cases=8).seed
        0
    """

    group: ClassVar[str] = "phantom"

    num_cases: int = field(default=36, metadata=bounded(number(least=1, most=10_000, whole=True)))
    seed: int = field(default=0, metadata=bounded(SEED))
    shared_style: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


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

    Examples:
        >>> TASKS[0].dataset, TASKS[0].classes
        ('phantom_liver', ('background', 'liver', 'tumour'))
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

# Of other patients, for fine-tuning; not in TASKS, which are trained together.
STOMACH = PhantomTask("stomach", ("CT",), {"stomach": ("stomach",)}, focus_mm=5)
DATASETS = (*TASKS, STOMACH)

ORIENTATIONS = ("RAS", "LPS", "LAS", "RPS", "LPI", "PIR", "ASL", "SAR")


def draw_patient(rng: np.random.Generator, study: Study, *, all_tumours: bool) -> list[Blob]:
    """The blobs of one patient; each tumour site is empty in its fraction of patients unless ``all_tumours``."""
    blobs = study.draw(rng)
    absent = {
        name
        for group, fraction in study.tumours.items()
        if rng.uniform() >= fraction and not (all_tumours and fraction)
        for name in group
    }
    return [blob for blob in blobs if blob.structure not in absent]


@dataclass(frozen=True)
class PhantomCase:
    """One made-up scan.

    Attributes:
        images: one array [Z, Y, X] per modality.
        structures: uint8 [Z, Y, X], positions in ``STRUCTURES``.
        affine: [4, 4], index (z, y, x) -> scanner mm (superior, posterior, left).
        orientation: axis code of the file, such as ``PIR``.

    Examples:
        >>> make_case(0, 0, 0, shared_style=False).structures.dtype
        dtype('uint8')
    """

    images: tuple[np.ndarray, ...]
    structures: np.ndarray
    affine: np.ndarray
    orientation: str


def make_case(
    seed: int,
    task_index: int,
    case_index: int,
    *,
    shared_style: bool,
    style_offset: Mapping[str, float] | None = None,
) -> PhantomCase:
    """A pure function of its arguments; case 0 has every tumour of its study.

    Args:
        style_offset: added to knobs of the style, by name, beyond 0 to 1 too: another site than the suite's.
    """
    task = DATASETS[task_index]
    rng = np.random.default_rng([seed, task_index, case_index + 1])  # a last 0 would repeat the site's stream
    style = draw_style(np.random.default_rng([seed, task_index]), rng, shared_style)
    style = replace(style, **{name: getattr(style, name) + offset for name, offset in (style_offset or {}).items()})
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
    task = DATASETS[task_index]
    case_id = f"{task.name}_{case_index:03d}"
    case = make_case(seed, task_index, case_index, shared_style=shared_style)
    for channel, image in enumerate(case.images):
        _write_nifti(root / task.dataset / "imagesTr" / f"{case_id}_{channel:04d}.nii.gz", image, case)
    _write_nifti(root / task.dataset / "labelsTr" / f"{case_id}.nii.gz", task.label(case.structures), case)
    _write_nifti(root / "truth" / f"{case_id}.nii.gz", case.structures, case)


def _prepare_folders(root: Path, num_cases: int, tasks: Sequence[PhantomTask]) -> None:
    """Empty folders for datasets, each with its ``dataset.json``, after whatever was there."""
    for task in tasks:
        shutil.rmtree(root / task.dataset, ignore_errors=True)
        for folder in ("imagesTr", "labelsTr"):
            (root / task.dataset / folder).mkdir(parents=True)
        channels = {str(channel): name for channel, name in enumerate(task.modalities)}
        labels = {name: value for value, name in enumerate(task.classes)}
        description = {"channel_names": channels, "labels": labels, "numTraining": num_cases, "file_ending": ".nii.gz"}
        write_json(root / task.dataset / "dataset.json", description)


def write_suite(root: Path, settings: PhantomSettings) -> None:
    """Write the twelve datasets, one more unlabelled CT, all their truth below ``root``; what a suite of the same
    settings has is left as it is.

    Args:
        root: its folders ``phantom_*`` of the suite, ``unseen`` and ``truth`` are replaced.

    Raises:
        InputError: what describes the suite that lies there is damaged.
    """
    content = {"version": VERSION, **asdict(settings)}
    written, fix = root / SETTINGS_FILE, "delete it: the suite is then written anew"
    before = read_json(written, "the settings of a phantom suite", fix) if written.exists() else {}
    there = before.pop(WRITTEN, [task.dataset for task in TASKS])  # as older versions wrote it
    if before != content:
        written.unlink(missing_ok=True)
        _write_unseen(root, settings)
        there = []
    missing = [task for task in DATASETS if task.dataset not in there]
    if missing:
        _write_datasets(root, settings, missing)
        write_json(written, content | {WRITTEN: [task.dataset for task in DATASETS]})


def _write_unseen(root: Path, settings: PhantomSettings) -> None:
    """The CT of no dataset, and a folder for the truth, after whatever was there."""
    for folder in ("truth", UNSEEN):
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
    write_json(root / "truth" / "structures.json", VALUE)
    unseen = make_case(settings.seed, 0, settings.num_cases, shared_style=settings.shared_style)
    _write_nifti(root / UNSEEN / f"{UNSEEN}_0000.nii.gz", unseen.images[0], unseen)
    _write_nifti(root / "truth" / f"{UNSEEN}.nii.gz", unseen.structures, unseen)


def _write_datasets(root: Path, settings: PhantomSettings, tasks: Sequence[PhantomTask]) -> None:
    _prepare_folders(root, settings.num_cases, tasks)
    jobs = [
        delayed(write_case)(root, settings.seed, DATASETS.index(task), case, settings.shared_style)
        for task in tasks
        for case in range(settings.num_cases)
    ]
    done = Parallel(n_jobs=-1, return_as="generator_unordered", initializer=end_with_parent)(jobs)
    for _ in track(done, "Writing phantoms", total=len(jobs)):
        pass
