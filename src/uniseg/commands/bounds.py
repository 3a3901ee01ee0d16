"""What a setting may be, and the check of a composed configuration against it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from uniseg.commands.suggestions import nearest_word
from uniseg.errors import InputError
from uniseg.settings import NULL, Bound

TEXT = (str, str | None, list[str], list[str] | None)


@dataclass(frozen=True)
class Rule:
    """Settings that depend on each other.

    Attributes:
        keys: dotted; the rule is checked where the first has a value.
        fits: of the values in this order, None for what is not there.
        expected: in words.

    Examples:
        >>> rule = Rule(("low", "high"), lambda low, high: low < high, "low below high")
        >>> rule.fits(2, 1)
        False
    """

    keys: tuple[str, ...]
    fits: Callable[..., bool]
    expected: str


@dataclass(frozen=True)
class Setting:
    """One leaf of a schema.

    Attributes:
        key: dotted, ``*`` for any name.
        bound: None: what its type allows.
        is_text: its values are text.
        has_any_shape: OmegaConf does not know that.

    Examples:
        >>> from uniseg.inference.settings import InferenceSettings
        >>> [setting.key for setting in settings_of(InferenceSettings) if setting.key == "overlap"]
        ['overlap']
    """

    key: str
    bound: Bound | None
    is_text: bool
    has_any_shape: bool


def settings_of(schema: type, prefix: str = "") -> Iterator[Setting]:
    """Every leaf of a dataclass of dataclasses; metadata ``bound`` and ``text`` of a field say the rest."""
    hints = get_type_hints(schema)
    for each in fields(schema):
        key, hint = prefix + each.name, hints[each.name]
        nested = [part for part in (hint, *get_args(hint)) if is_dataclass(part)]
        if nested:
            yield from settings_of(nested[0], f"{key}.*." if get_origin(hint) is dict else f"{key}.")
            continue
        bound = each.metadata.get("bound")
        may_be_null = hint is Any or NoneType in get_args(hint)
        is_text = hint in TEXT or "text" in each.metadata
        yield Setting(key, bound | NULL if bound is not None and may_be_null else bound, is_text, hint is Any)


def as_text(value: Any) -> Any:
    """A plain value with its numbers as text."""
    if isinstance(value, dict):
        return {key: as_text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_text(inner) for inner in value]
    return value if value is None else str(value)


def check(config: DictConfig, bounds: Mapping[str, Bound], rules: Iterable[Rule] = ()) -> None:
    """Every setting that is there, before any work.

    Args:
        bounds: by dotted key, ``*`` for any name.

    Raises:
        InputError: names the first setting that is out of bounds, its value, the bounds.
    """
    for pattern, bound in bounds.items():
        for key, value in values_at(config, pattern):
            if not bound.holds(value):
                raise InputError(key, f"{value!r:.100}", bound.expected, _fix(value, bound))
    for rule in rules:
        values = [next((value for _, value in values_at(config, key)), None) for key in rule.keys]
        if values[0] is not None and not rule.fits(*values):
            found = ", ".join(f"{key}={value!r:.60}" for key, value in zip(rule.keys[1:], values[1:], strict=True))
            raise InputError(rule.keys[0], f"{values[0]!r:.100} with {found}", rule.expected, "correct one of them")


def _fix(value: Any, bound: Bound) -> str:
    if isinstance(value, str) and value in bound.advice:
        return bound.advice[value]
    near = nearest_word(value, bound.words)
    return f"did you mean {near}?" if near else "correct the value"


def values_at(config: DictConfig, pattern: str) -> Iterator[tuple[str, Any]]:
    """(key, plain value) of all that the pattern names; what is missing is left out."""
    head, _, rest = pattern.partition(".")
    if not OmegaConf.is_dict(config) or OmegaConf.is_missing(config, head) or config._is_none():
        return
    for name in list(config) if head == "*" else [head] if head in config else []:
        if OmegaConf.is_missing(config, name):
            continue
        value = config[name]
        if rest:
            for key, inner in values_at(value, rest):
                yield f"{name}.{key}", inner
        else:
            yield (
                str(name),
                OmegaConf.to_container(value, resolve=True, throw_on_missing=False)
                if OmegaConf.is_config(value)
                else value,
            )
