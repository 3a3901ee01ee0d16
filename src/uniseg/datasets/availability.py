"""Which datasets of a run are not on this machine.

A run over many public datasets starts with this check, so that a missing one shows before hours of work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from uniseg.datasets.source import Source
from uniseg.datasets.unpack import ENDINGS

HEADINGS = ("task", "looked in", "where to get it", "licence")


@dataclass(frozen=True)
class MissingDataset:
    """One row of the table: what was not found, where to get it.

    Examples:
        >>> MissingDataset("liver", "data/Task03_Liver", "http://medicaldecathlon.com", "CC BY-SA 4.0").task
        'liver'
    """

    task: str
    looked_in: str
    homepage: str
    licence: str


def missing_datasets(sources: Mapping[str, Source]) -> list[MissingDataset]:
    """The tasks whose root is no folder or an empty one, in the order given."""
    return [
        MissingDataset(task, str(source.root), source.homepage or "not stated", source.licence or "see homepage")
        for task, source in sources.items()
        if not source.root.is_dir() or next(source.root.iterdir(), None) is None
    ]


def availability_message(rows: Sequence[MissingDataset]) -> str:
    """One plain-text table of the missing datasets, with what can be run without them as its last line."""
    table = [HEADINGS, *(astuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    noun = "dataset is" if len(rows) == 1 else "datasets are"
    return "\n".join(
        [
            f"{len(rows)} {noun} missing:",
            "",
            *lines,
            "",
            "Put each at the place given, or set paths.data (source.root for one alone), or choose the tasks you have.",
            "experiment=demo needs none of them.",
            *(f"uniseg prepare unpack={path} makes {path.parent / name}." for name, path in _archives(rows).items()),
        ]
    )


def _archives(rows: Sequence[MissingDataset]) -> dict[str, Path]:
    """Folder's name -> archive of that name that lies where the folder should be."""
    roots = [Path(row.looked_in) for row in rows]
    found = ((root.name, root.with_name(root.name + ending)) for root in roots for ending in ENDINGS)
    return {name: path for name, path in found if path.is_file()}
