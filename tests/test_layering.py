"""Rooms and arrows: imports go down, no two rooms see each other, not even through a YAML file or an ``__init__``."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "uniseg"
COMMANDS = {
    *("prepare", "train", "finetune", "predict", "evaluate", "report", "export", "info", "tasks", "serve"),
    *("import_results", "complete", "adapt", "view", "crossval", "compare"),
}
LEVELS = [
    {
        "task",
        "errors",
        "environment",
        "device_copy",
        "files",
        "settings",
        "plugins",
        "normalization",
        "renamed",
        "run_folder",
        "terminology",
    },
    {"images", "phantom"},
    {"models", "losses", "metrics", "preprocessing"},
    {"datasets", "pretext"},
    {"cache", "weights"},
    {"sampling", "planning"},
    {"inference"},
    {"evaluation", "artefacts", "pseudo_labels", "adaptation"},
    {"training", "reporting", "service"},
    # One level: the files run their work with `commands`, which in turn calls the file whose name was typed (DYNAMIC).
    COMMANDS | {"commands", "model", "__init__"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# Group of conf/ -> the room that its classes are handed to; what has no room of its own may name any class.
ROOM_OF_GROUP = {
    "augment": "sampling",
    "callbacks": "training",
    "data": "sampling",
    "finetune": "training",
    "inference": "inference",
    "init": "training",
    "logger": "training",
    "loss": "losses",
    "metric": "metrics",
    "model": "models",
    "normalization": "normalization",
    "optimizer": "training",
    "phantom": "phantom",
    "pretext": "pretext",
    "scheduler": "training",
    "speed": "training",
    "dataset": "datasets",
    "task": "datasets",
    "trainer": "training",
}
ANY_ROOM = COMMANDS | {"import", "debug", "experiment", "hydra", "paths", "stack"}
# Files that import a module whose name is known only at run time -> why no arrow goes up.
DYNAMIC = {
    "__init__.py": "the public names, of the highest level",
    "commands/app.py": "the command files, of the level of commands",
    "metrics/registry.py": "_target_ of a file of conf/metric, whose arrows are those of YAML",
    "plugins.py": "a package that its caller names: its own room's (test_a_door_is_in_its_own_room)",
    "weights/build.py": "classes of a checkpoint: of TRUSTED, which is models, or of another package",
}
FILES = sorted(SRC.rglob("*.py"))
YAMLS = sorted((ROOT / "conf").rglob("*.yaml"))
PURE = {"hydra", "omegaconf", "wandb"}
FORBIDDEN = {
    **dict.fromkeys(("models", "losses", "metrics", "pretext"), PURE | {"lightning", "nibabel", "blosc2"}),
    **dict.fromkeys(
        (
            "images",
            "phantom",
            "preprocessing",
            "datasets",
            "cache",
            "planning",
            "inference",
            "evaluation",
            "artefacts",
            "adaptation",
        ),
        PURE | {"lightning"},
    ),
    **dict.fromkeys(("sampling", "weights", "training", "reporting"), PURE),
}


def room_of(path: Path) -> str:
    """The folder or top-level module that a file belongs to."""
    return path.relative_to(SRC).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names, inside functions too, and as the text that ``import_module`` gets."""
    for node in ast.walk(ast.parse(path.read_text())):
        if is_dynamic(node) and isinstance(node.args[0], ast.Constant):
            yield node.args[0].value
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (
                (f"{node.module}.{alias.name}" for alias in node.names) if node.module == "uniseg" else (node.module,)
            )


def is_dynamic(node: ast.AST) -> bool:
    """Whether this is a call of ``import_module``, under any of its names, or of ``__import__``."""
    name = getattr(node, "func", None)
    return isinstance(node, ast.Call) and getattr(name, "attr", getattr(name, "id", "")) in (
        "import_module",
        "__import__",
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


def yaml_arrows(path: Path, content: object) -> Iterator[tuple[str, str, str]]:
    """(where, room, room of the class that it gets), the same room too.

    Args:
        path: below ``conf``; its group says which room gets the object of the outermost ``_target_``.
    """
    group = path.with_suffix("").parts[0]
    for outer, own in targets(content, None if group in ANY_ROOM else f"uniseg.{ROOM_OF_GROUP[group]}"):
        if outer and outer.startswith("uniseg.") and own.startswith("uniseg."):
            yield f"conf/{path}", outer.split(".")[1], own.split(".")[1]


def points_down(room: str, other: str) -> bool:
    """Whether an object of ``other`` may be handed to ``room`` by YAML."""
    return room == other or LEVEL[other] < LEVEL[room]


def arrows() -> Iterator[tuple[str, str, str]]:
    """(where, room, room that it sees)."""
    for path in FILES:
        for name in imports(path):
            if name.startswith("uniseg."):
                yield str(path.relative_to(ROOT)), room_of(path), name.split(".")[1]
    yield from YAML_ARROWS


YAML_ARROWS = [
    arrow for path in YAMLS for arrow in yaml_arrows(path.relative_to(ROOT / "conf"), yaml.safe_load(path.read_text()))
]
ARROWS = [arrow for arrow in arrows() if arrow[1] != arrow[2]]


def test_there_are_files_and_arrows():
    assert len(FILES) > 100
    assert len(YAMLS) > 50
    assert len(ARROWS) > 200
    assert len(YAML_ARROWS) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_every_file_has_a_room(path):
    assert room_of(path) in LEVEL


@pytest.mark.parametrize(
    ("where", "room", "other"), sorted(set(ARROWS)), ids=lambda part: part.removeprefix("src/uniseg/")
)
def test_arrows_point_down(where, room, other):
    assert LEVEL[other] <= LEVEL[room], f"{where}: {room} sees {other}, which is above it"


@pytest.mark.parametrize(("where", "room", "other"), YAML_ARROWS)
def test_classes_of_yaml_are_of_their_groups_room_or_below(where, room, other):
    assert points_down(room, other), f"{where}: {room} gets a class of {other}, which is not below it"


@pytest.mark.parametrize(
    ("path", "content", "wrong"),
    [
        ("loss/upward.yaml", {"_target_": "uniseg.training.optimization.poly"}, [("losses", "training")]),
        ("model/head/beside.yaml", {"_target_": "uniseg.losses.dice_ce.DiceCELoss"}, [("models", "losses")]),
        (
            "callbacks/nested.yaml",
            {"one": {"_target_": "uniseg.models.a.A", "draw": [{"_target_": "uniseg.reporting.prompts.f"}]}},
            [("models", "reporting")],
        ),
        ("callbacks/beside.yaml", {"one": {"_target_": "uniseg.reporting.prompts.f"}}, [("training", "reporting")]),
        ("experiment/any.yaml", {"loss": {"_target_": "uniseg.training.optimization.poly"}}, []),
        ("scheduler/down.yaml", {"_target_": "uniseg.models.a.A"}, []),
        ("loss/foreign.yaml", {"_target_": "monai.losses.DiceLoss"}, []),
    ],
)
def test_a_wrong_class_in_yaml_is_seen(path, content, wrong):
    seen = [(room, other) for _, room, other in yaml_arrows(Path(path), content)]
    assert [arrow for arrow in seen if not points_down(*arrow)] == wrong


def test_modules_named_at_run_time_are_the_known_ones(tmp_path):
    """What ``import_module`` gets as plain text is an arrow like any other."""
    calls = {
        path.relative_to(SRC).as_posix()
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if is_dynamic(node) and not isinstance(node.args[0], ast.Constant)
    }
    assert calls == set(DYNAMIC)
    path = tmp_path / "planted.py"
    path.write_text("import importlib\nimportlib.import_module('uniseg.training.run')\n")
    assert list(imports(path)) == ["importlib", "uniseg.training.run"]


def test_a_door_is_in_its_own_room():
    """A file that uses ``plugins`` names only packages of its own room, as text."""
    doors = [path for path in FILES if "uniseg.plugins" in imports(path)]
    assert len(doors) >= 2
    for path in doors:
        texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        packages = [text for text in texts if isinstance(text, str) and re.fullmatch(r"uniseg(\.\w+)+", text)]
        assert packages
        assert {package.split(".")[1] for package in packages} == {room_of(path)}


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
