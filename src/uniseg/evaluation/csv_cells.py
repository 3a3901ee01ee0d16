"""Cells of a CSV file: text that no spreadsheet computes, numbers with NaN as an empty cell."""

import csv
import io
from collections.abc import Iterable, Sequence
from math import isinf
from pathlib import Path

from uniseg.files import write_atomically

NAN = float("nan")
ESCAPED = ("=", "+", "-", "@", "\t", "\r", "'")  # a cell that begins so would be a formula, or is escaped already


def write_rows(path: Path, head: Sequence[str], rows: Iterable[Sequence[str | float]]) -> None:
    """The file appears whole or not at all."""
    with write_atomically(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def read_rows(text: str) -> list[dict[str, str]]:
    """Rows by the names in the head.

    Raises:
        ValueError: no CSV, or a row with another number of cells than the head.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("a row with another number of cells than the head")
    return [{key: _unescaped(cell) for key, cell in row.items()} for row in rows]


def to_cell(value: str | float) -> str | float:
    """What ``read_rows`` and ``to_number`` read as ``value`` again, numbers to five decimals."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(ESCAPED) else value
    return "" if value != value else round(value, 5)


def to_number(cell: str) -> float:
    """NaN of an empty cell.

    Raises:
        ValueError: no finite number.
    """
    value = NAN if cell == "" else float(cell)
    if isinf(value):
        raise ValueError(f"'{cell}', which is no finite number")
    return value


def _unescaped(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(ESCAPED) else cell
