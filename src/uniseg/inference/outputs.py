"""The paths of predictions, which files there are ours, what must not be replaced."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from uniseg.datasets.case import Case
from uniseg.errors import InputError
from uniseg.images.dicom_seg import BINARY, LABELMAP
from uniseg.images.dicom_source import referable_series
from uniseg.images.segmentation_files import RTSTRUCT, SEG_DICOM, SEG_NRRD
from uniseg.task import Task

MERGED = "merged"
TABLES = SLICER, ITK_SNAP = "labels.ctbl", "labels_itksnap.txt"  # beside merged maps
ENDING, PROBABILITIES = ".nii.gz", "_probabilities.nii.gz"
NIFTI, NRRD, DICOM_SEG, STRUCTURES = "nifti", "nrrd", "dicom_seg", "rtstruct"
FORMATS = {NIFTI: ENDING, NRRD: SEG_NRRD, DICOM_SEG: SEG_DICOM, STRUCTURES: RTSTRUCT}  # endings
PREDICTION_KEYS = {"checkpoint", "uniseg"}
ELSEWHERE = "move it away, or choose another output="


def label_path(output: Path, name: str, case_id: str, ending: str = ENDING) -> Path:
    """Of a task's label map, or of the merged one."""
    return output / name / f"{case_id}{ending}"


def json_path(label: Path) -> Path:
    """Beside the label map."""
    return label.with_name(_stem(label) + ".json")


def probabilities_path(label: Path) -> Path:
    """Beside the label map."""
    return label.with_name(_stem(label) + PROBABILITIES)


def _stem(label: Path) -> str:
    return label.name.removesuffix(next((each for each in FORMATS.values() if label.name.endswith(each)), ""))


def read_prediction_json(path: Path) -> dict | None:
    """What the JSON at ``path`` says of our prediction beside it; None where nothing is there, or another's file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.keys() >= PREDICTION_KEYS else None


def is_predicted_probabilities(path: Path) -> bool:
    """Whether ``path`` is what ``probabilities_path`` names, beside our JSON."""
    return (
        path.name.endswith(PROBABILITIES)
        and read_prediction_json(path.with_name(path.name.removesuffix(PROBABILITIES) + ".json")) is not None
    )


@dataclass(frozen=True)
class OutputLayout:
    """What a call writes for every case: ``<folder>/<task>/<case>.nii.gz``, or another ending, with a JSON beside each.

    Attributes:
        merge: one map per case instead, ``<folder>/merged/<case>.nii.gz``, with tables of its values.
        probabilities: beside every label map those of its label values, ``<case>_probabilities.nii.gz``.
        format: of the label maps: one of ``FORMATS``.
        segmentation_type: of a DICOM segmentation: ``binary`` or ``labelmap``.

    Raises:
        InputError: merged maps with probabilities; another format; a format whose library is not installed.

    Examples:
        >>> OutputLayout(Path("out")).label_path("liver", "case_3").as_posix()
        'out/liver/case_3.nii.gz'
    """

    folder: Path
    merge: bool = False
    probabilities: bool = False
    format: str = NIFTI
    segmentation_type: str = BINARY

    def __post_init__(self) -> None:
        for name, words in (("format", tuple(FORMATS)), ("segmentation_type", (BINARY, LABELMAP))):
            if getattr(self, name) not in words:
                raise InputError(name, f"'{getattr(self, name)}'", f"one of {', '.join(words)}", "correct it")
        if self.format == DICOM_SEG and find_spec("highdicom") is None:
            fix = "pip install 'uniseg[dicom]', or choose another format="
            raise InputError(f"format={DICOM_SEG}", "no highdicom installed", "the library that writes it", fix)
        if self.merge and self.probabilities:
            raise InputError("probabilities", "with merge=true", "label maps per task", "leave one of the two out")

    def label_path(self, name: str, case_id: str) -> Path:
        """Of a task's label map, or of the merged one."""
        return label_path(self.folder, MERGED if self.merge else name, case_id, FORMATS[self.format])

    @property
    def record(self) -> dict[str, str]:
        """What the JSON says of the format: with what else it is written anew."""
        return {"segmentation_type": self.segmentation_type} if self.format == DICOM_SEG else {}

    def require_writable(self, references: Mapping[Task, Path]) -> None:
        """Check before all work what only the end would find.

        Args:
            references: task -> the scan on whose grid its label map lies.

        Raises:
            InputError: a DICOM file of what is no DICOM series, or of one without an identity; a labelmap of classes
                that overlap.
        """
        if self.format in (DICOM_SEG, STRUCTURES):
            for reference in dict.fromkeys(references.values()):
                referable_series(reference, f"format={self.format}")
        is_labelmap = self.format == DICOM_SEG and self.segmentation_type == LABELMAP and not self.merge
        if is_labelmap and (overlapping := [task.name for task in references if task.regions]):
            fix = "leave segmentation_type=labelmap out, or add merge=true"
            raise InputError(f"task '{overlapping[0]}'", "classes that overlap", "one class for each voxel", fix)

    def is_done(self, name: str, case_id: str, record: Mapping[str, object]) -> bool:
        """Whether all files are there and come from the same weights, settings and scans, by name and stamp."""
        label = self.label_path(name, case_id)
        files = [label, *([probabilities_path(label)] if self.probabilities else [])]
        if not all(path.exists() for path in files):
            return False
        return record.items() <= (read_prediction_json(json_path(label)) or {}).items()

    def require_free(self, cases: Iterable[tuple[Case, Iterable[str]]]) -> None:
        """Check everything that is going to be written, before all work.

        Args:
            cases: each with the tasks that it may get label maps of.

        Raises:
            InputError: a file would replace an input, or one that is not ours; two have one name; a folder cannot be
                written to.
        """
        cases = list(cases)
        planned: dict[Path, list[Path]] = {}
        for case, names in cases:
            for name in [MERGED] if self.merge else names:
                label = self.label_path(name, case.case_id)
                if label in planned:
                    fix = "rename one, or predict one of them into another output="
                    raise InputError(case.files[0], f"a second scan called '{case.case_id}'", "one of each name", fix)
                planned[label] = [json_path(label), *([probabilities_path(label)] if self.probabilities else [])]
        inputs = [path for case, _ in cases for path in case.files]
        tables = [self.folder / MERGED / name for name in TABLES] if self.merge else []
        _require_free(planned, inputs, tables)


def _require_free(planned: Mapping[Path, Iterable[Path]], inputs: Iterable[Path], tables: Iterable[Path]) -> None:
    """
    Args:
        planned: label map -> what is written beside it, its JSON included.
        inputs: all files and folders that the call reads.
        tables: written too; they may replace their like.
    """
    read = {key for path in inputs if (key := _identity(path))}
    seen: set[Path] = set()
    for folder in sorted({path.parent for path in planned}):
        require_folder(folder)
    for label, beside in planned.items():
        is_ours = read_prediction_json(json_path(label)) is not None
        for path in (label, *beside):
            if path in seen:
                raise InputError(
                    path, "two scans whose predictions are called so", "a name for each", "rename one of the scans"
                )
            seen.add(path)
            _require_replaceable(path, read, is_ours=is_ours)
    for path in tables:
        _require_replaceable(path, read, is_ours=is_table(path))


def is_table(path: Path) -> bool:
    """Whether a colour table is ours, by its first line."""
    try:
        with path.open("rb") as file:
            return file.readline(200).rstrip() in TABLE_HEADS
    except OSError:
        return False


SLICER_HEAD, SNAP_HEAD = (
    "# Color table file, for 3D Slicer",
    "# ITK-SnAP Label Description File: IDX -R- -G- -B- -A-- VIS MSH LABEL",
)
TABLE_HEADS = (SLICER_HEAD.encode(), SNAP_HEAD.encode())


def _require_replaceable(path: Path, read: set[tuple[int, int]], *, is_ours: bool) -> None:
    if not os.path.lexists(path):
        return
    if _identity(path) in read:
        raise InputError(
            path,
            "a scan that is to be read, where a prediction would go",
            "another place for the predictions",
            "choose another output=",
        )
    if not is_ours or path.is_dir():
        raise InputError(
            path,
            "something that uniseg did not write, where a prediction would go",
            "nothing, or a prediction with its JSON",
            ELSEWHERE,
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """Of the file behind all its names."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def require_folder(folder: Path) -> None:
    """
    Raises:
        InputError: ``folder``, or the nearest of its parents that exists, is no folder that may be written to.
    """
    nearest = Path(os.path.abspath(folder))
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not os.path.isdir(nearest):
        raise InputError(nearest, "a file", "a folder for the predictions", ELSEWHERE)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            nearest, "a folder that may not be written to", "one for the predictions", "choose another output="
        )
