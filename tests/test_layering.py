"""Rooms and arrows: imports go down, no two rooms see each other, not even through a YAML file or an ``__init__``."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "uniseg"
COMMANDS = {"prepare", "train", "predict", "evaluate", "report", "export"}
LEVELS = [
    {"task", "errors", "environment", "files", "settings", "plugins", "normalization", "renamed", "run_folder"},
    {"images", "phantom"},
    {"models", "losses", "metrics", "preprocessing"},
    {"datasets"},
    {"cache", "weights"},
    {"sampling", "planning"},
    {"inference"},
    {"evaluation"},
    {"training", "reporting"},
    {"commands"},
    COMMANDS | {"model", "__init__"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
FILES = sorted(SRC.rglob("*.py"))
YAMLS = sorted((ROOT / "conf").rglob("*.yaml"))
PURE = {"hydra", "omegaconf", "wandb"}
FORBIDDEN = {
    **dict.fromkeys(("models", "losses", "metrics"), PURE | {"lightning", "nibabel", "blosc2"}),
    **dict.fromkeys(
        ("images", "phantom", "preprocessing", "datasets", "cache", "planning", "inference", "evaluation"),
        PURE | {"lightning"},
    ),
    **dict.fromkeys(("sampling", "weights", "training", "reporting"), PURE),
}


def room_of(path: Path) -> str:
    """The folder or top-level module that a file belongs to."""
    return path.relative_to(SRC).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (
                (f"{node.module}.{alias.name}" for alias in node.names) if node.module == "uniseg" else (node.module,)
            )


def targets(node: object, outer: str | None = None) -> Iterator[tuple[str | None, str]]:
    """(target that gets the object, target of the object) for every ``_target_`` below ``node``."""
    if isinstance(node, dict):
        own = node.get("_target_", outer)
        if "_target_" in node:
            yield outer, own
        for value in node.values():
            yield from targets(value, own)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value, outer)


def arrows() -> Iterator[tuple[str, str, str]]:
    """(where, room, room that it sees), rooms that differ."""
    for path in FILES:
        for name in imports(path):
            if name.startswith("uniseg."):
                yield str(path.relative_to(ROOT)), room_of(path), name.split(".")[1]
    for path in YAMLS:
        for outer, own in targets(yaml.safe_load(path.read_text())):
            if outer and outer.startswith("uniseg.") and own.startswith("uniseg."):
                yield str(path.relative_to(ROOT)), outer.split(".")[1], own.split(".")[1]


ARROWS = [arrow for arrow in arrows() if arrow[1] != arrow[2]]


def test_there_are_files_and_arrows():
    assert len(FILES) > 100
    assert len(YAMLS) > 50
    assert len(ARROWS) > 200


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_every_file_has_a_room(path):
    assert room_of(path) in LEVEL


@pytest.mark.parametrize(
    ("where", "room", "other"), sorted(set(ARROWS)), ids=lambda part: part.removeprefix("src/uniseg/")
)
def test_arrows_point_down(where, room, other):
    assert LEVEL[other] <= LEVEL[room], f"{where}: {room} sees {other}, which is above it"


def test_no_circle_between_rooms():
    graph: dict[str, set[str]] = {}
    for _, room, other in ARROWS:
        graph.setdefault(room, set()).add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"rooms in a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_libraries_stay_in_their_rooms(path):
    roots = {name.split(".")[0] for name in imports(path)}
    forbidden = FORBIDDEN.get(room_of(path), {"wandb"})
    assert not roots & forbidden
