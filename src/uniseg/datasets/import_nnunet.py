"""Task files for the datasets of nnU-Net v1, v2, or the Decathlon, which stay where they are."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from uniseg.datasets.case import Case, find_cases
from uniseg.datasets.dataset_file import declared_tasks
from uniseg.datasets.dataset_json import Description, describe, task_name
from uniseg.datasets.source import Source
from uniseg.datasets.splits import SplitTable, split_cases
from uniseg.datasets.task_text import literal, task_text
from uniseg.datasets.unpack import archives_in, is_archive
from uniseg.environment import CONF_DIR
from uniseg.errors import InputError, printable
from uniseg.files import write_text
from uniseg.images.files import read_geometry
from uniseg.normalization.base import Normalization
from uniseg.preprocessing.resample import target_spacing
from uniseg.task import Task

V1_FOLDER = "nnUNet_raw_data"
BEFORE_LAST_NUMBER = r"^(.*\d)_[A-Za-z]*\d+$"  # patient001 of patient001_frame01


@dataclass(frozen=True)
class _Imported:
    """One dataset as its task file describes it.

    Attributes:
        task: normalisation unresolved.
        source: where it lies.
        description: from its ``dataset.json``.
        splits: which cases are in which split.
        is_ready: train and val are not empty.
        note: what the user should know.
    """

    task: Task
    source: Source
    description: Description
    splits: SplitTable
    is_ready: bool
    note: str


@dataclass(frozen=True)
class _Refused:
    """A dataset that no task file can describe, with the reason."""

    name: str
    reason: str


def import_nnunet_datasets(
    folder: str | os.PathLike,
    task_dir: str | os.PathLike = Path("conf", "task"),
    preprocessed: str | os.PathLike | None = None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write ``task_dir/<name>.yaml`` for every dataset in ``folder``; a table of all goes to stderr.

    Args:
        folder: holds datasets, or is one.
        task_dir: created where it is missing; commands read ``conf/task`` of the folder that they are started in.
        preprocessed: holds ``<dataset>/splits_final.json``; None: the datasets' own folders alone are looked into.
        overwrite: whether files that differ are replaced.

    Returns:
        The task files. All are written or none.

    Raises:
        InputError: no dataset there, none that can be described, two of one name, or a task file that differs.
    """
    folder, task_dir = Path(folder), Path(task_dir)
    preprocessed = None if preprocessed is None else Path(preprocessed)
    if preprocessed is not None and not preprocessed.is_dir():
        raise InputError(preprocessed, "no such folder", "nnUNet_preprocessed", "correct preprocessed=")
    results = [_import(dataset, preprocessed) for dataset in find_folders(folder)]
    imported = [result for result in results if isinstance(result, _Imported)]
    paths = {task_dir / f"{result.task.name}.yaml": _to_yaml(result) for result in imported}
    console = Console(stderr=True, width=240)
    console.print(_table(results, task_dir))
    if not imported:
        raise InputError(folder, "no dataset that a task file can describe", "at least one", "see the table above")
    _check_names(folder, imported)
    differing = [path for path, text in paths.items() if path.exists() and path.read_bytes() != text.encode()]
    if differing and not overwrite:
        found = "another task file of this name" + (f", and {len(differing) - 1} more" if len(differing) > 1 else "")
        fix = "start in a folder of your own, whose conf/task is read first, move it away, or add overwrite=true"
        raise InputError(differing[0], found, "none (nothing was written)", fix)
    for path, text in paths.items():
        write_text(path, text)
    ready = [result.task.name for result in imported if result.is_ready]
    console.print(
        "Each case counts as one patient: where several belong to one, add source.patient_pattern to the task file."
    )
    if ready:
        names = ",".join(ready)
        console.print(f"Next, a plan: uniseg prepare plan=true task=\\[{names}] gpu_memory_gb=24", soft_wrap=True)
        console.print(f"Or without one: uniseg prepare task=\\[{names}]", soft_wrap=True)
    return list(paths)


def find_folders(folder: Path) -> list[Path]:
    """The folders with a ``dataset.json``: ``folder`` itself, or those in it or in its ``nnUNet_raw_data``.

    Raises:
        InputError: no folder with a ``dataset.json``.
    """
    folder = folder.absolute()
    if folder.is_file() and is_archive(folder):
        raise InputError(folder, "an archive", "the folder that it holds", f"uniseg prepare unpack={folder} makes it")
    if (folder / "dataset.json").is_file():
        return [folder]
    datasets = sorted(path.parent for parent in (folder, folder / V1_FOLDER) for path in parent.glob("*/dataset.json"))
    if not datasets:
        archives = archives_in(folder) if folder.is_dir() else []
        expected = "a dataset of nnU-Net or the Decathlon, or a folder of them"
        fix = f"uniseg prepare unpack={archives[0]} makes one" if archives else "correct import="
        raise InputError(folder, "no dataset.json", expected, fix)
    return datasets


def _to_yaml(imported: _Imported) -> str:
    """The task file."""
    task, source, labels = imported.task, imported.source, imported.description.labels
    values = {
        "modalities": [literal(name) for name in task.modalities],
        "classes": [literal(name) for name in task.classes],
        "regions": {name: list(values) for name, values in labels.regions.items()},
        "spacing_mm": list(task.spacing_mm),
        "normalization": {
            modality: {"mode": how.mode} for modality, how in zip(task.modalities, task.normalization, strict=True)
        },
        "source": {
            "layout": source.layout,
            "root": literal(str(source.root)),
            "label_map": dict(source.label_map),
            "ignore": source.ignore,
            "splits": source.splits and literal(source.splits),
            "homepage": literal(source.homepage),
            "licence": literal(source.licence),
        },
    }
    return task_text(task.name, values, f"Imported from {printable(source.root.name)}, in place.")


def _import(root: Path, preprocessed: Path | None) -> _Imported | _Refused:
    name = task_name(root.name)
    try:
        description = describe(root)
        labels = description.labels
        splits, note = _find_splits(root, preprocessed)
        source = Source(
            layout="nnunet",
            root=root,
            label_map=dict(labels.label_map),
            ignore=labels.ignore,
            splits=splits,
            homepage=description.homepage,
            licence=description.licence,
        )
        cases = find_cases(source, description.modalities)
        measured = [case for case in cases if case.split != "test"]
        if not measured:
            raise InputError(
                root, f"{len(cases)} cases, all for test", "one for training", "restore imagesTr and labelsTr"
            )
        spacing = _spacing(measured, name)
        task = Task(
            name,
            description.modalities,
            labels.classes,
            spacing,
            tuple(Normalization(mode) for mode in description.normalization),
        )
        table = split_cases(name, cases, source.given_splits())
    except InputError as error:
        return _Refused(name, str(error))
    try:
        table.fold(name, 0)
    except InputError:
        return _Imported(task, source, description, table, False, "too few patients for its splits: add source.splits")
    notes = (note, "" if splits else patient_note([case.case_id for case in cases]))
    return _Imported(task, source, description, table, True, "; ".join(filter(None, notes)))


def patient_note(case_ids: Sequence[str]) -> str:
    """What to ask a person where several cases look like those of one patient; empty where none do.

    Examples:
        >>> print(patient_note(["p01_frame01", "p01_frame12", "p02_frame01"]))
        2 names before the last number, as of p01_frame01: if patients, add source.patient_pattern: '^(.*\\d)_'
        >>> patient_note(["liver_1", "liver_2"])
        ''
    """
    found = [re.match(BEFORE_LAST_NUMBER, case_id) for case_id in case_ids]
    names = {match[1] for match in found if match}
    if not all(found) or not 1 < len(names) < len(case_ids):
        return ""
    example = f"{len(names)} names before the last number, as of {printable(case_ids[0])}"
    return f"{example}: if patients, add source.patient_pattern: '^(.*\\d)_'"


def _spacing(cases: Sequence[Case], name: str) -> tuple[float, float, float]:
    paths = [case.image_paths[0] for case in cases]
    headers = [read_geometry(path) for path in track(paths, f"{name}: headers", console=Console(stderr=True))]
    return target_spacing(
        np.array([header.spacing_mm for header in headers]), np.array([header.array.shape[1:] for header in headers])
    )


def _find_splits(root: Path, preprocessed: Path | None) -> tuple[str | None, str]:
    """Path of ``splits_final.json`` if there is one, with a note about what was passed over."""
    folders = [root]
    if preprocessed is not None:
        folders.insert(
            0, preprocessed.absolute() if preprocessed.name == root.name else preprocessed.absolute() / root.name
        )
    for each in folders:
        if (each / "splits_final.json").is_file():
            return str(each / "splits_final.json"), ""
    pickled = [each / "splits_final.pkl" for each in folders if (each / "splits_final.pkl").is_file()]
    if pickled:
        return None, f"{pickled[0]} is not read, since a pickle may run code: save its folds as splits_final.json"
    return None, f"no splits_final.json in {folders[0]}" if preprocessed is not None else ""


def _check_names(folder: Path, imported: Sequence[_Imported]) -> None:
    first: dict[str, str] = {}
    for result in imported:
        name, root = result.task.name, result.source.root.name
        if name in first:
            found = f"{first[name]} and {root}, both task '{name}'"
            raise InputError(
                folder,
                found,
                "different names",
                "import one alone and rename its file and first line; nothing was written",
            )
        first[name] = root


def _table(results: Sequence[_Imported | _Refused], task_dir: Path) -> Table:
    table = Table("task", "modalities", "classes", "cases", "spacing_mm", "normalisation", "splits", "note")
    for result in results:
        cells = (
            (result.name, *[""] * 6, f"not imported: {result.reason}")
            if isinstance(result, _Refused)
            else _cells(result, task_dir)
        )
        table.add_row(*(escape(cell) for cell in cells))
    return table


def _cells(imported: _Imported, task_dir: Path) -> tuple[str, ...]:
    task, labels, splits = imported.task, imported.description.labels, imported.splits
    packaged = CONF_DIR / "task" / f"{task.name}.yaml"
    is_packaged = packaged.exists() or task.name in declared_tasks(CONF_DIR)
    is_shadowed = is_packaged and task_dir.absolute() != packaged.parent
    notes = {
        imported.note: bool(imported.note),
        "comes before the packaged task of this name": is_shadowed,
        f"label {labels.ignore} does not count": labels.ignore is not None,
    }
    return (
        task.name,
        ", ".join(task.modalities),
        f"{task.num_classes}{' as regions' if labels.regions else ''}",
        str(len(splits.patients)),
        " ".join(f"{s:g}" for s in task.spacing_mm),
        ", ".join(how.mode for how in task.normalization),
        f"{'splits_final.json' if imported.source.splits else 'by patient'}: {len(splits.folds)} folds, "
        f"{len(splits.test)} for test",
        "; ".join(note for note, holds in notes.items() if holds),
    )
