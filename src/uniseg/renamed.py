"""Old names of groups, keys, values and classes -> today's: in command lines, YAML files, configurations of runs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Dotted key, ``*`` for any name -> today's key; a group is the key of its block. None: without effect now.
KEYS: dict[str, str | None] = {
    "strategy": "finetune",
    "side": "split",
    "tasks.*.source.splits.dev": "tasks.*.source.splits.val",
}
# Today's key -> old value -> today's.
VALUES: dict[str, dict[str, str]] = {
    "split": {"dev": "val"},
    "speed": {"default": "auto", "cpu": "auto"},
}
# Beginning of a Python path -> today's; a longer one goes before a shorter one.
MODULES: dict[str, str] = {
    "uniseg.config.read_vectors": "uniseg.models.conditioning.text_embedding.read_vectors",
    "uniseg.models.encoders.monai_nets.": "uniseg.models.encoders.segresnet.",
    "uniseg.models.conditioning.text_vectors.": "uniseg.models.conditioning.text_embedding.",
    "uniseg.report.prompts.": "uniseg.reporting.prompts.",
    "uniseg.scans.datasets.": "uniseg.datasets.layouts.",
    "uniseg.stream.augment.draws.": "uniseg.sampling.augment.recipe.",
    "uniseg.stream.": "uniseg.sampling.",
    "uniseg.training.callbacks.EpochMeans": "uniseg.training.callbacks.resume_state.EpochMeans",
    "uniseg.training.callbacks.FiniteLoss": "uniseg.training.callbacks.finite_loss.FiniteLoss",
    "uniseg.training.callbacks.ProgressBar": "uniseg.training.callbacks.progress.ProgressBar",
    "uniseg.training.callbacks.StreamPosition": "uniseg.training.callbacks.resume_state.StreamPosition",
    "uniseg.training.last_checkpoint.": "uniseg.training.callbacks.last_checkpoint.",
    "uniseg.training.schedules.": "uniseg.training.optimization.",
    "uniseg.training.prompt_tracker.": "uniseg.training.callbacks.prompt_tracker.",
}
ARGUMENT = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<key>[^@=]+)(?P<package>@[^=]*)?(?P<equals>=)?(?P<value>.*)", re.DOTALL)
WORD = re.compile(r"[^\s,\[\]{}:'\"]+")
Path = tuple[Any, ...]  # the keys that lead to a value


def renamed_path(path: str) -> str:
    """The Python path of today for one of any version.

    Examples:
        >>> renamed_path("uniseg.models.encoders.monai_nets.SegResNetEncoder")
        'uniseg.models.encoders.segresnet.SegResNetEncoder'
    """
    return next((new + path.removeprefix(old) for old, new in MODULES.items() if path.startswith(old)), path)


@dataclass
class Renamer:
    """Replaces old names, and remembers which it met.

    Attributes:
        notes: one sentence for each old name, in the order met.

    Examples:
        >>> renamer = Renamer()
        >>> renamer.argument("strategy.layer_decay=0.7")
        'finetune.layer_decay=0.7'
        >>> renamer.notes
        ["'strategy' is called 'finetune' now"]
    """

    notes: list[str] = field(default_factory=list)

    def argument(self, argument: str) -> str | None:
        """One argument of a command line; None where it has no effect any more."""
        parts = ARGUMENT.fullmatch(argument)
        if parts is None or argument.startswith("-"):
            return argument
        slash = "/" if "/" in parts["key"] else "."
        key = self.key(parts["key"].replace("/", "."))
        if key is None:
            return None
        value = WORD.sub(lambda each: self._word(key, each[0]), self._interpolations(parts["value"]))
        return "".join(
            (parts["sign"] or "", key.replace(".", slash), parts["package"] or "", parts["equals"] or "", value)
        )

    def key(self, key: str) -> str | None:
        """A dotted key; None where it has no effect any more."""
        new = self._path(tuple(key.split(".")))
        return new and ".".join(new)

    def config(self, values: Any, package: str = "") -> Any:
        """Plain values of a YAML file.

        Args:
            values: a mapping of the file; anything else comes back as it is.
            package: dotted key of the block that the file fills; empty for a whole configuration.
        """
        if not isinstance(values, Mapping):
            return values
        outer: Path = tuple(package.split(".")) if package else ()
        renamed: dict = {}
        for path, value in _leaves(values):
            new = self._path((*outer, *path), least=len(outer) + 1)
            if new is not None:
                inner = new[len(outer) :] if new[: len(outer)] == outer else path
                _put(renamed, inner, self.value(".".join(map(str, new)), value))
        return renamed

    def defaults(self, entries: list) -> list:
        """A defaults list with entries as ``{"override /strategy": "full"}``."""
        return [self._entry(entry) for entry in entries]

    def _entry(self, entry: Any) -> Any:
        return (
            dict(self._choice(str(key), each) for key, each in entry.items()) if isinstance(entry, Mapping) else entry
        )

    def _choice(self, key: str, choice: Any) -> tuple[str, Any]:
        *words, group = key.split()
        group, at, package = group.partition("@")
        slash = "/" if group.startswith("/") else ""
        renamed = self.key(group.lstrip("/").replace("/", ".")) or group
        return " ".join([*words, f"{slash}{renamed.replace('.', '/')}{at}{package}"]), self.value(renamed, choice)

    def _path(self, path: Path, least: int = 0) -> Path | None:
        """Args:
        least: keys that an old name must have; a shorter one is that of the block that a file fills.
        """
        for old, new in KEYS.items():
            pattern = old.split(".")
            if least <= len(pattern) <= len(path) and all(map(_fits, pattern, path)):
                filled = new and _fill(new, pattern, path)
                self._note(".".join(map(str, path[: len(pattern)])), filled and ".".join(map(str, filled)))
                return filled and (*filled, *path[len(pattern) :])
        return path

    def value(self, key: str, value: Any) -> Any:
        """A plain value of today's ``key``."""
        if isinstance(value, list):
            return [self.value(key, item) for item in value]
        if isinstance(value, Mapping):
            return {name: self.value(f"{key}.{name}", item) for name, item in value.items()}
        return self._word(key, self._interpolations(value)) if isinstance(value, str) else value

    def _word(self, key: str, word: str) -> str:
        """A value, or a Python path."""
        if (new := VALUES.get(key, {}).get(word)) is not None:
            self._note(f"{key}={word}", f"{key}={new}")
            return new
        if (path := renamed_path(word)) != word:
            self._note(word, path)
        return path

    def _interpolations(self, text: str) -> str:
        for old, new in KEYS.items():
            pattern = rf"(\$\{{(?:[\w.]+:)*){re.escape(old)}(?=[.}},])"
            if new and "$" in text and re.search(pattern, text):
                self._note(old, new)
                text = re.sub(pattern, rf"\g<1>{new}", text)
        return text

    def _note(self, old: str, new: str | None) -> None:
        note = f"'{old}' is called '{new}' now" if new else f"'{old}' has no effect any more"
        if note not in self.notes:
            self.notes.append(note)


def renamed_config(values: Mapping) -> dict:
    """The configuration of an older run with the names of today.

    Examples:
        >>> renamed_config({"strategy": {"name": "full"}})
        {'finetune': {'name': 'full'}}
    """
    return Renamer().config(values)


def renamed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an older run, by dotted key; those without effect are left out.

    Examples:
        >>> renamed_settings({"strategy.layer_decay": 0.7})
        {'finetune.layer_decay': 0.7}
    """
    renamer = Renamer()
    pairs = ((renamer.key(key), value) for key, value in settings.items())
    return {key: renamer.value(key, value) for key, value in pairs if key is not None}


def _leaves(values: Mapping, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _fits(part: str, name: Any) -> bool:
    return part in ("*", str(name))


def _fill(new: str, pattern: list[str], path: Path) -> Path:
    """``new`` with its ``*`` replaced by what those of the pattern stand for, in order."""
    stars = iter([name for part, name in zip(pattern, path, strict=False) if part == "*"])
    return tuple(next(stars) if part == "*" else part for part in new.split("."))


def _put(values: dict, path: Path, value: Any) -> None:
    *outer, last = path
    for name in outer:
        values = values.setdefault(name, {})
    values[last] = value
