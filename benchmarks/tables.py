"""RESULTS.md from ``results.json`` and from what was measured on cards: the numbers to reach, a table a subject."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bars
from gpu.report import tables as card_tables

HERE = Path(__file__).parent
HEAD = """# Measured

Made by the scripts of this folder from `results.json`, which has every row with its command, machine, commit; do not
edit. A name has one row, the newest. Ours and the anchor ran side by side in one run, start-up excluded. `ratio` is how
many times better ours is: above 1 it is faster or smaller. A row without an anchor states a property of ours. A commit
ends in `-dirty` where files differed from it, `results.json` itself among them.
"""
BARS = ("what", "against", "bar", "measured", "machine", "commit", "command")
SECONDS = re.compile(r"\d\.\d")
SIZE = re.compile(r"(?P<what>.*), (?P<size>\d+ tasks, \d+ cases)")


@dataclass(frozen=True)
class Subject:
    """Rows that stand in one table.

    Attributes:
        starts: of their names; the first subject that fits has a row.
        without: parts of their names that the title says.
        left_out: of their names' ends: rows that ``results.json`` alone has.
        by_size: one line a size, with a column for what was measured.
    """

    title: str
    starts: tuple[str, ...]
    without: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    by_size: bool = False

    def short(self, name: str) -> str:
        for part in self.without:
            name = name.replace(part, "")
        return name


SUBJECTS = (
    Subject(
        "Training step, 32x96x96, batch 2, float32, on a processor",
        ("training step, width",),
        ("training step, ", ", 32x96x96, batch 2, fp32, cpu"),
        ("parameters",),
    ),
    Subject("Conditioning", ("training step, conditioning", "one more task of a window", "an added task")),
    Subject("Augmentation, 64x192x192, one core", ("augmentation, ",), ("augmentation, 64x192x192, ", ", one core")),
    Subject("Reader, cache", ("reader, ", "cache, ")),
    Subject(
        "Preparation, two processes",
        ("preparation of ",),
        ("preparation of ", ", 2 processes"),
        ("audit with fingerprint", "arrays"),
    ),
    Subject("Memory of a prediction", ("peak memory",), ("peak memory, ",)),
    Subject(
        "Speed of a prediction",
        ("prediction of ", "seven tasks of one "),
        ("prediction of ",),
        ("least Dice to one after another",),
    ),
    Subject("A training of many tasks", ("scale, training, ",), ("scale, training, ",), by_size=True),
    Subject("Begin a training of many tasks", ("scale, ",), ("scale, ",), by_size=True),
    Subject("Import, demo", ("import ", "demo, ")),
)
OTHERS = Subject("Others", ("",))


def text(results: Path) -> str:
    """Of RESULTS.md."""
    rows = json.loads(results.read_text()) if results.exists() else []
    cards = [json.loads(path.read_text()) for path in sorted((HERE / "gpu").glob("*.json"))]
    parts = [HEAD, "## The numbers to reach\n"]
    reached = bars.lines({row["name"]: row for row in rows}, [card for card in cards if not card["tiny"]])
    parts += [table(BARS, list(reached)), *subjects(rows), "## On a card", card_tables()]
    return "\n".join(parts)


def subjects(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for subject in (*SUBJECTS, OTHERS):
        own = [row for row in rows if subject_of(row["name"]) is subject]
        shown = [row for row in own if not row["name"].endswith(subject.left_out or ("\0",))]
        if shown:
            yield f"## {subject.title}\n"
            yield f"{_origin(shown)}\n"
            yield (sizes if subject.by_size else plain)(subject, shown)


def subject_of(name: str) -> Subject:
    return next((subject for subject in SUBJECTS if name.startswith(subject.starts)), OTHERS)


def plain(subject: Subject, rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a row; of its unit what comes before the details."""
    lines = [
        (subject.short(row["name"]), *(_cell(row[key]) for key in ("ours", "anchor", "ratio")), _unit(row))
        for row in rows
    ]
    return table(("what", "ours", "anchor", "ratio", "unit"), lines)


def sizes(subject: Subject, rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a size, or a line a quantity where there are more of those."""
    cells = {}
    for row in rows:
        found = SIZE.fullmatch(row["name"])
        assert found, f"{row['name']}: no size"
        cells[f"{subject.short(found['what'])} ({_unit(row)})", found["size"]] = _cell(row["ours"])
    whats, columns = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (0, 1))
    if len(whats) > len(columns):
        return table(("", *columns), [(what, *(cells.get((what, size), "") for size in columns)) for what in whats])
    return table(("", *whats), [(size, *(cells.get((what, size), "") for what in whats)) for size in columns])


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ("---",) * len(head), *lines))


def _origin(rows: Sequence[Mapping[str, Any]]) -> str:
    """Scripts, machines, commits."""
    scripts = bars.joined(f"`{' '.join(row['command'].split()[:2])}`" for row in rows)
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    return f"{scripts}. {bars.joined(row['machine'] for row in rows)}. Commit {commits}."


def _cell(value: float | None) -> str:
    return "" if value is None else str(value)


def _unit(row: Mapping[str, Any]) -> str:
    """What comes first, with what the anchor is; stages and counts stay in ``results.json``."""
    unit, *details = str(row["unit"]).split("; ")
    return "; ".join([unit, *(each for each in details if each.startswith("anchor: ") and not SECONDS.search(each))])
