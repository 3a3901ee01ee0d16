"""The text files that a training leaves: its configuration, its learning curves."""

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from uniseg.errors import InputError
from uniseg.files import MALFORMED
from uniseg.renamed import renamed_config

T = TypeVar("T")


@dataclass(frozen=True)
class Curve:
    """One logged quantity: a value per epoch, epochs ascending.

    Examples:
        >>> from uniseg.run_folder import RunFolder
        >>> read_curves(RunFolder(Path("outputs/demo")).log)["train/loss"].values[-1]  # doctest: +SKIP
        0.42
    """

    epochs: tuple[int, ...]
    values: tuple[float, ...]


def read_config(path: Path) -> dict[str, Any]:
    """The resolved configuration of a run as plain containers, with the names of today.

    Raises:
        InputError: missing, or no YAML mapping.
    """
    return _parse(path, lambda text: renamed_config(dict(yaml.safe_load(text) or {})))


def read_curves(path: Path) -> dict[str, Curve]:
    """Every column of a Lightning ``metrics.csv`` but epoch and step; the last value of an epoch counts.

    Raises:
        InputError: missing, or a cell that is not a number.
    """
    return _parse(path, _curves)


def _curves(text: str) -> dict[str, Curve]:
    columns: dict[str, dict[int, float]] = defaultdict(dict)
    for row in csv.DictReader(text.splitlines()):
        if not row["epoch"]:
            continue
        for key, cell in row.items():
            if cell and key not in ("epoch", "step"):
                columns[key][int(float(row["epoch"]))] = float(cell)
    return {key: _curve(points) for key, points in columns.items()}


def _curve(points: Mapping[int, float]) -> Curve:
    epochs = sorted(points)
    return Curve(tuple(epochs), tuple(points[epoch] for epoch in epochs))


def _parse(path: Path, reader: Callable[[str], T]) -> T:
    if not path.is_file():
        fix = "give a run folder that was trained, then evaluated"
        raise InputError(path, "no such file", "the file that training writes", fix)
    try:
        return reader(path.read_text("utf-8"))
    except KeyError as error:
        raise InputError(path, f"no entry {error}", "the format that uniseg writes", "restore the file") from error
    except (*MALFORMED, OSError, csv.Error, yaml.YAMLError) as error:
        reason = f"{type(error).__name__} ({' '.join(str(error).split())})"
        raise InputError(path, reason, "the format that uniseg writes", "restore the file") from error
