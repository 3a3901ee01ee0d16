"""What a setting may be: bounds that its dataclass states beside its type, for YAML, command line and Python."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from uniseg.errors import InputError


@dataclass(frozen=True)
class Bound:
    """``expected`` in words, ``holds`` of a plain value, ``words`` where it is one of some, ``advice`` to who gives
    another word that one may expect.

    Examples:
        >>> even = Bound("an even number", lambda value: isinstance(value, int) and value % 2 == 0)
        >>> (even | Bound("null", lambda value: value is None)).expected
        'an even number, or null'
    """

    expected: str
    holds: Callable[[Any], bool]
    words: tuple[str, ...] = ()
    advice: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: "Bound") -> "Bound":
        return Bound(
            f"{self.expected}, or {other.expected}",
            lambda value: self.holds(value) or other.holds(value),
            self.words + other.words,
            {**self.advice, **other.advice},
        )


def number(
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    whole: bool = False,
) -> Bound:
    """A finite number; ``least`` and ``most`` are allowed themselves, ``above`` and ``below`` are not."""
    limits = {"of at least": least, "above": above, "of at most": most, "below": below}
    words = " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if limit is not None)

    def holds(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not isfinite(value):
            return False
        return (
            (least is None or value >= least)
            and (most is None or value <= most)
            and (above is None or value > above)
            and (below is None or value < below)
        )

    return Bound(f"a {'whole ' if whole else ''}number {words}".strip(), holds)


def word(*words: str, advice: Mapping[str, str] | None = None) -> Bound:
    expected = f"one of {', '.join(words)}"
    return Bound(expected, lambda value: isinstance(value, str) and value in words, words, advice or {})


def sequence(
    item: Bound, *, length: int | None = None, least: int = 1, ascending: bool = False, distinct: bool = False
) -> Bound:
    """A list with a number of entries, each of which is an ``item``."""
    count = f"{length} entries" if length is not None else f"{least} or more entries"
    order = ", ascending" if ascending else ", each once" if distinct else ""

    def holds(value: Any) -> bool:
        if (
            not isinstance(value, list)
            or (len(value) != length if length is not None else len(value) < least)
            or not all(map(item.holds, value))
        ):
            return False
        return (not ascending or value == sorted(value)) and (not distinct or len(set(value)) == len(value))

    return Bound(f"a list of {count}{order}, each {item.expected}", holds)


def mapping(item: Bound) -> Bound:
    return Bound(
        f"names with {item.expected} each",
        lambda value: isinstance(value, dict) and all(map(item.holds, value.values())),
    )


def matching(pattern: str, expected: str) -> Bound:
    return Bound(expected, lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None)


def _has_group(value: Any) -> bool:
    try:
        return re.compile(value).groups > 0
    except (re.error, TypeError):
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0


def bounded(bound: Bound) -> dict[str, Any]:
    """Metadata of a field whose value is checked."""
    return {"bound": bound}


def check_fields(settings: Any) -> None:
    """Every field of a dataclass within the bound that its metadata states; for ``__post_init__``.

    Raises:
        InputError: names the field below ``settings.group``, its value, the bound.
    """
    hints = get_type_hints(type(settings))
    for each in fields(settings):
        bound, value = each.metadata.get("bound"), as_plain(getattr(settings, each.name))
        if bound is None or (value is None and NoneType in get_args(hints[each.name])):
            continue
        if not bound.holds(value):
            key = ".".join(filter(None, (getattr(settings, "group", ""), each.name)))
            raise InputError(key, f"{value!r:.100}", bound.expected, "correct the value")


def as_plain(value: Any) -> Any:
    """Tuples as lists, paths as text, dataclasses as dictionaries, at every depth."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: as_plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


NULL = Bound("null", lambda value: value is None)
NOT_EMPTY = Bound("at least one entry", lambda value: not isinstance(value, (list, str)) or len(value) > 0)
GROUPED_PATTERN = Bound("a regular expression with a group in parentheses", _has_group)
COUNT = number(least=1, most=2**31 - 1, whole=True)
STEPS = number(least=0, most=2**31 - 1, whole=True)
CHANNELS = number(least=1, most=4096, whole=True)
FRACTION = number(least=0, most=1)
POSITIVE = number(above=0)
NOT_NEGATIVE = number(least=0)
SEED = number(least=0, most=2**32 - 1, whole=True)
WORKERS = number(least=0, most=1024, whole=True)
NO_LIMIT = number(least=-1, most=-1, whole=True)  # Lightning's, joblib's -1
PATHS = Bound("a path, or a list of paths", lambda value: all(map(_is_text, value if _is_list(value) else [value])))
AXES = sequence(number(least=0, most=2, whole=True), least=0, distinct=True)
FLAG = Bound("true or false", lambda value: isinstance(value, bool))
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
# Metadata of a field of any shape whose leaves are text, however much they look like numbers.
TEXT = {"text": True, "bound": NOT_EMPTY}
