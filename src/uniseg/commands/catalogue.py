"""What a command may be given, read off the YAML files without Hydra: keys, groups, choices, comments."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from uniseg.datasets.dataset_file import GROUP as DATASET_GROUP
from uniseg.datasets.dataset_file import declared_tasks, task_blocks
from uniseg.environment import CONF_DIR, LOCAL_CONF
from uniseg.errors import InputError

TASK_GROUP = "task"
HIDDEN = ("defaults", "hydra", "_target_", "_partial_")
PACKAGE = re.compile(r"^# @package (\S+)", re.MULTILINE)
KEY_LINE = re.compile(r"^(\s*)([\w-]+):(?:\s|$)(?:.*?\s#\s*(.*))?")


@dataclass(frozen=True)
class Key:
    """A setting.

    Attributes:
        name: dotted.
        value: as YAML.
        comment: that stands above or behind it.
        group: whose file holds it; empty for the root's own.

    Examples:
        >>> Key("optimizer.lr", "0.003", "Learning rate.", "optimizer").name
        'optimizer.lr'
    """

    name: str
    value: str
    comment: str
    group: str


class Catalogue:
    """Keys and groups of a command under the choices of its arguments.

    Attributes:
        groups: group -> what is chosen of it; nested ones as ``model/encoder``.
        keys: by dotted name.

    Examples:
        >>> catalogue = Catalogue("train", ["optimizer=adamw"])
        >>> catalogue.groups["optimizer"], catalogue.keys["optimizer.lr"].value
        ('adamw', '0.003')
    """

    def __init__(self, command: str, arguments: Iterable[str] = ()) -> None:
        self.groups: dict[str, Any] = {}
        self.keys: dict[str, Key] = {}
        self._chosen: dict[str, Any] = {}
        given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
        choices = {name.lstrip("+"): value for name, value in given.items() if choices_of(name.lstrip("+"))}
        if experiment := _find("experiment", choices.get("experiment", "")):
            self._note_overrides(_defaults(_load(experiment)), "")
        self._chosen |= {group: _listed(value) for group, value in choices.items()}
        self._visit(CONF_DIR / f"{command}.yaml", "")

    def _visit(self, path: Path, group: str) -> None:
        content = _load(path)
        self._note_overrides(_defaults(content), group)
        for entry in _defaults(content):
            if isinstance(entry, str):
                if base := _find(group, entry):
                    self._visit(base, group)
                continue
            for name, choice in entry.items():
                if name.startswith("override ") or name.startswith("hydra"):
                    continue
                inner = name.removeprefix("optional ").lstrip("/")
                self._visit_group(f"{group}/{inner}".lstrip("/"), choice)
        for key in keys_of(path, content, group):
            before = self.keys.get(key.name)
            self.keys[key.name] = key if before is None else replace(before, value=key.value)

    def _visit_group(self, group: str, choice: Any) -> None:
        self.groups[group] = choice = self._chosen.get(group, choice)
        for each in choice if isinstance(choice, list) else [choice]:
            if isinstance(each, str) and group in (DATASET_GROUP, TASK_GROUP) and (file := _dataset_file(group, each)):
                self.keys |= {key.name: key for key in _declared_keys(file, group, each)}
            elif isinstance(each, str) and (path := _find(group, each)):
                self._visit(path, group)

    def _note_overrides(self, entries: Sequence[Any], group: str) -> None:
        for entry in entries:
            for name, choice in entry.items() if isinstance(entry, Mapping) else ():
                if name.startswith("override "):
                    inner = name.removeprefix("override ")
                    full = inner[1:] if inner.startswith("/") else f"{group}/{inner}".lstrip("/")
                    self._chosen.setdefault(full, choice)


def choices_of(group: str) -> list[str]:
    """Names of the files of a group, those of ``./conf`` included; empty where there is no such group. Of tasks those
    that data-set files declare too.
    """
    folders = [folder / group for folder in (LOCAL_CONF, CONF_DIR)] if group else []
    files = {path.stem for folder in folders for path in folder.glob("*.yaml")}
    declared = (LOCAL_CONF, CONF_DIR) if group == TASK_GROUP else ()
    return sorted(files.union(*(declared_tasks(folder) for folder in declared)))


def describe_choice(group: str, choice: str) -> str:
    """The comment that a group's file begins with."""
    path = _find(group, choice) or _dataset_file(group, choice)
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    first = next((line for line in lines if not line.startswith("# @package")), "")
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def examples_of(command: str) -> list[str]:
    """The commands that the head of a root's YAML file shows."""
    lines = (CONF_DIR / f"{command}.yaml").read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("# ") for line in lines if line.startswith("# python ")]


def keys_of(path: Path, content: Mapping[str, Any], group: str) -> Iterator[Key]:
    """The settings of one file, each with its comment."""
    text = path.read_text(encoding="utf-8")
    package = match[1] if (match := PACKAGE.search(text)) else group.replace("/", ".")
    prefix = "" if package in ("_global_", "") else f"{package}."
    comments = _comments(text)
    for name, value in _leaves(content):
        yield Key(prefix + name, _shown(value), comments.get(name, ""), group)


def _dataset_file(group: str, choice: str) -> Path | None:
    """The data-set file that the choice is, or that declares the task of that name."""
    if group == DATASET_GROUP:
        return _find(group, choice)
    if group != TASK_GROUP or _find(group, choice):
        return None
    files = (declared_tasks(folder).get(choice) for folder in (LOCAL_CONF, CONF_DIR))
    return next((path for path in files if path is not None), None)


def _declared_keys(path: Path, group: str, choice: str) -> Iterator[Key]:
    """The settings of the tasks that a data-set file declares; of one that is wrong none, which Hydra refuses."""
    try:
        blocks = task_blocks(_load(path), path)
    except InputError:
        return
    for task, block in blocks.items():
        if group == DATASET_GROUP or task == choice:
            for name, value in _leaves(block):
                yield Key(f"tasks.{task}.{name}", _shown(value), "", group)


def _comments(text: str) -> dict[str, str]:
    """By dotted key: the comment lines above it, or what stands behind its value."""
    comments: dict[str, str] = {}
    above: list[str] = []
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        if line.strip().startswith("#"):
            above.append(line.strip().removeprefix("#").strip())
        elif match := KEY_LINE.match(line):
            indent = len(match[1])
            parents = [parent for parent in parents if parent[0] < indent] + [(indent, match[2])]
            comments[".".join(name for _, name in parents)] = " ".join(above) or (match[3] or "")
            above = []
        else:
            above = []
    return comments


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if name in HIDDEN:
            continue
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")


def _find(group: str, choice: str) -> Path | None:
    paths = [folder / group / f"{choice}.yaml" for folder in (LOCAL_CONF, CONF_DIR)] if choice else []
    return next((path for path in paths if path.is_file()), None)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):  # Hydra says what is wrong with it
        content = None
    return content if isinstance(content, Mapping) else {}


def _defaults(content: Mapping[str, Any]) -> list[Any]:
    defaults = content.get("defaults")
    return defaults if isinstance(defaults, list) else []


def _listed(value: str) -> Any:
    """``[a,b]`` of a command line as a list."""
    return [each.strip() for each in value[1:-1].split(",")] if value.startswith("[") else value
