"""The layout of a manifest: a table that lists the files of every case, wherever they lie.

``root`` is the folder that holds ``manifest.csv`` or ``manifest.yaml``. The table has one row per case::

    case,patient,CT,PET,label,split
    a1,smith,a1/ct.nii.gz,/data/pet/a1,a1/label.nii.gz,train
    b7,jones,b7/dicom,,absent,test

Columns are ``case``, one per modality of the task under its name, ``label``, and if wanted ``patient``,
``namespace`` (of the patient, where rows come from several datasets) and ``split``.
Paths are absolute or begin at the manifest; an image may be a DICOM folder. An empty modality: the case lacks it. The
label ``absent``: the target is known not to be there. An empty ``patient``: ``source.patient_pattern`` tells it. An
empty ``split`` among others: train. In YAML the rows are a list of mappings with the same keys.
"""

import codecs
import csv
import io
import os
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import yaml

from uniseg.datasets.layouts.base import LayoutCase
from uniseg.datasets.split_file import SPLITS, current_split
from uniseg.errors import InputError

ROOT_HOLDS = "manifest.csv or manifest.yaml, a row per case"

NAMES = ("manifest.csv", "manifest.yaml")
OPTIONAL_COLUMNS = ("patient", "namespace", "split")
ABSENT = "absent"
NOTHING = ("nan", "none", "null", "n/a", "#n/a", "<na>")  # as programs write an empty cell
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
SAVE_AS_UTF8 = "save the table as CSV in UTF-8, with commas between the cells"


@dataclass(frozen=True)
class Row:
    """One case as the table has it; ``where`` is the file with its row, counted as its reader counts.

    Examples:
        >>> Row("manifest.csv, row 2", {"case": "a1"}).cells["case"]
        'a1'
    """

    where: str
    cells: Mapping[str, str]


def find_files(root: Path, modalities: tuple[str, ...]) -> Iterator[LayoutCase]:
    """The files of every row.

    Raises:
        InputError: no manifest or two, an unreadable one, a column too few or too many, a cell that is wrong, or a
            missing file.
    """
    paths = [root / name for name in NAMES if (root / name).is_file()]
    if len(paths) != 1:
        raise InputError(
            root,
            " and ".join(path.name for path in paths) or "no manifest",
            f"one of {' or '.join(NAMES)}",
            "put one there",
        )
    rows = (_csv_rows if paths[0].suffix == ".csv" else _yaml_rows)(paths[0], ("case", *modalities, "label"))
    for row in rows:
        yield _files(root, row, modalities)


def _files(root: Path, row: Row, modalities: Sequence[str]) -> LayoutCase:
    empty = next((name for name, cell in row.cells.items() if cell.casefold() in NOTHING), None)
    if empty is not None:
        found = f"{empty}: '{row.cells[empty]}'"
        raise InputError(
            row.where, found, "an empty cell where there is nothing", "empty it (pandas: to_csv(na_rep=''))"
        )
    case_id, label, split = row.cells["case"], row.cells["label"], current_split(row.cells.get("split", "")) or None
    if not label:
        raise InputError(
            row.where,
            f"case '{case_id}' without a label",
            f"a path, or {ABSENT} where the target is known not to be there",
            "correct the row",
        )
    if split not in (None, *SPLITS):
        raise InputError(row.where, f"split '{split}'", f"one of {', '.join(SPLITS)}", "correct the row")
    images = tuple(_path(root, row, modality) for modality in modalities)
    absent = label == ABSENT
    return LayoutCase(
        case_id,
        images,
        None if absent else _path(root, row, "label"),
        row.cells.get("patient") or None,
        absent,
        split,
        row.where,
        namespace=row.cells.get("namespace") or None,
    )


def _path(root: Path, row: Row, column: str) -> Path | None:
    if not row.cells[column]:
        return None
    path = root / row.cells[column]
    if not os.path.exists(path):
        fix = "write / instead of \\" if "\\" in row.cells[column] else "correct the row"
        raise InputError(
            row.where, f"{column}: no such file {path}", "a path from the manifest's folder, or an absolute one", fix
        )
    return path


def _csv_rows(path: Path, required: Sequence[str]) -> Iterator[Row]:
    try:
        reader = csv.reader(io.StringIO(_csv_text(path), newline=""), skipinitialspace=True, strict=True)
        table = [[cell.strip() for cell in cells] for cells in reader]
    except csv.Error as error:
        raise InputError(
            path, f"{type(error).__name__} ({error})", "a readable CSV file", "restore the file"
        ) from error
    table = _without_empty_columns(table)
    header = table[0] if table else []
    for separator, name in SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            raise InputError(f"{path}, row 1", f"{name} between the cells", "commas", SAVE_AS_UTF8)
    _check_columns(str(path), header, required)
    for number, cells in enumerate(table[1:], start=2):
        where = f"{path}, row {number}"
        if len(cells) not in (0, len(header)):
            raise InputError(where, f"{len(cells)} cells", f"{len(header)}, as the first row", "correct the row")
        if any(cells):
            yield Row(where, dict(zip(header, cells, strict=True)))


def _csv_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(path, error.strerror or str(error), "a readable CSV file", "restore the file") from error
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
            raise InputError(f"{path}, row 1", "text in UTF-16", "UTF-8", SAVE_AS_UTF8)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, row {row}", f"a byte 0x{content[error.start]:02x} that is no UTF-8", "UTF-8", SAVE_AS_UTF8
        ) from error


def _without_empty_columns(table: Sequence[Sequence[str]]) -> list[list[str]]:
    """Without those at the end that have no name and no cell, as spreadsheets leave them."""
    width = len(table[0]) if table else 0
    while width and all(not any(cells[width - 1 :]) for cells in table):
        width -= 1
    return [list(cells[:width]) for cells in table]


def _yaml_rows(path: Path, required: Sequence[str]) -> Iterator[Row]:
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError, yaml.YAMLError) as error:
        raise InputError(
            path, f"{type(error).__name__} ({' '.join(str(error).split())})", "a readable YAML file", "restore the file"
        ) from error
    if not isinstance(table, list) or not all(isinstance(row, Mapping) for row in table):
        raise InputError(path, f"a {type(table).__name__}", "a list of mappings, one per case", "correct the file")
    for number, cells in enumerate(table, start=1):
        where = f"{path}, row {number}"
        _check_columns(where, list(cells), required)
        wrong = next((name for name, value in cells.items() if not isinstance(value, str | None)), None)
        if wrong is not None:
            raise InputError(where, f"{wrong}: {reprlib.repr(cells[wrong])}", "text", "put it in quotes")
        yield Row(where, {name: (value or "").strip() for name, value in cells.items()})


def _check_columns(where: str, present: Sequence[str], required: Sequence[str]) -> None:
    known = (*required, *OPTIONAL_COLUMNS)
    expected = f"the columns {', '.join(required)} and perhaps {', '.join(OPTIONAL_COLUMNS)}"
    unknown = [str(name) for name in present if name not in known]
    missing = [name for name in required if name not in present]
    twice = [name for name in known if list(present).count(name) > 1]
    if twice:
        raise InputError(where, f"the column '{twice[0]}' twice", expected, "delete one")
    if "" in unknown:
        found = f"column {list(present).index('') + 1} without a name"
        raise InputError(where, found, expected, "delete it (pandas: to_csv(index=False)), or name it")
    if unknown:
        near = _nearest(unknown[0], missing or known)
        raise InputError(
            where, f"an unknown column '{unknown[0]}'", expected, f"rename it to '{near}'" if near else "delete it"
        )
    if missing:
        raise InputError(where, f"no column '{missing[0]}'", expected, "add it")


def _nearest(name: str, names: Sequence[str]) -> str | None:
    folded = {known.casefold(): known for known in names}
    return next((folded[key] for key in get_close_matches(name.casefold(), folded, n=1)), None)
