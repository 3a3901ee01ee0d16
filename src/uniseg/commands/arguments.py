"""The command line before Hydra reads it: names that look like numbers stay text, what its grammar refuses is named."""

import logging
import re
import shlex
from collections.abc import Collection, Sequence
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from uniseg.environment import CONF_DIR
from uniseg.errors import InputError
from uniseg.renamed import Renamer

log = logging.getLogger(__name__)

MULTIRUN = ("-m", "--multirun")
# Hydra's flags that take the next argument.
WITH_VALUE = (
    *("--cfg", "-c", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p"),
    *("--info", "-i", "--experimental-rerun"),
)
MAY_BE_EMPTY = ("debug", "experiment", "logger", "phantom")  # groups of which nothing may be chosen
BRACKETS = "[](){}"
# Ours, beside the flags of Hydra.
WORDS = {"--json": "json=true", **{word: f"action={word}" for word in ("list", "add", "remove")}}


def readable_arguments(arguments: Sequence[str], text_keys: Collection[str]) -> list[str]:
    """The arguments as Hydra reads them, with the names of today.

    Args:
        text_keys: dotted keys whose values are text, ``*`` for any name; the group names are added.

    Raises:
        InputError: an argument that is no ``key=value``, or whose value has to be quoted.
    """
    arguments = [WORDS.get(argument, argument) for argument in arguments]
    keys = [*text_keys, *_groups()]
    sweeps = any(argument in MULTIRUN for argument in arguments)
    flags = {index + 1 for index, argument in enumerate(arguments) if argument in WITH_VALUE}
    renamer = Renamer()
    readable = [
        argument if index in flags else _readable(renamed, keys, sweeps)
        for index, argument in enumerate(arguments)
        if (renamed := renamer.argument(argument)) is not None
    ]
    for note in renamer.notes:
        log.warning("%s.", note)
    return readable


def _readable(argument: str, text_keys: Collection[str], sweeps: bool) -> str:
    if argument.startswith("-"):
        return argument
    key, equals, value = argument.partition("=")
    if not equals:
        if key.startswith("~"):
            return argument
        fix = "give a name that holds spaces in quotes, as 'input=\"a b.nii.gz\"'"
        raise InputError(f"argument '{argument}'", "no '='", "key=value", fix)
    name = key.lstrip("+~")
    if value == "null" and name in _groups():
        if name not in MAY_BE_EMPTY:
            choices = ", ".join(sorted(path.stem for path in (CONF_DIR / name).glob("*.yaml")))
            raise InputError(f"argument '{argument}'", "null", f"one of {choices}", "choose one")
        return f"~{name}"
    is_text = any(_matches(name, pattern) for pattern in text_keys)
    if is_text:
        argument = f"{key}={_numbers_as_text(value)}"
    try:
        parsed = OverridesParser.create().parse_override(argument)
        is_list = is_text and parsed.is_sweep_override() and not sweeps
    except HydraException as error:
        raise InputError(f"argument '{argument}'", *_refusal(key, value, error)) from error
    if is_list:
        fix = f"write {_shell(key, _quoted(value))} for one name; {_shell(key, f'[{value}]')} is a list"
        raise InputError(f"argument '{argument}'", "a comma outside quotes and brackets", "one value", fix)
    return argument


def _refusal(key: str, value: str, error: HydraException) -> tuple[str, str, str]:
    """What was found, what was expected, what to write."""
    reason = " ".join(line for line in str(error).splitlines() if not line.startswith(("Error parsing", "See https")))
    quoted = (
        f"[{','.join(map(_quoted, value[1:-1].split(',')))}]"
        if value.startswith("[") and value.endswith("]")
        else _quoted(value)
    )
    if value[:1] in BRACKETS and quoted[:1] == '"':
        return (
            f"'{value}' ({reason})",
            "a list [a,b] or a mapping {a:1}",
            "close its brackets and quote what is odd inside",
        )
    return f"'{value}' ({reason})", "text with such characters in quotes", f"write {_shell(key, quoted)}"


def _quoted(text: str) -> str:
    """In Hydra's double quotes."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)
    tail = re.search(r"\\*$", escaped)[0]
    return f'"{escaped}{tail}"'


def _shell(key: str, value: str) -> str:
    return shlex.quote(f"{key}={value}")


def _numbers_as_text(value: str) -> str:
    """Numbers and truth values, alone or in lists, in quotes: 2024_01 is a folder, not 202401."""
    if any(quote in value for quote in "\"'"):
        return value
    is_container = value[:1] in ("[", "{")
    return re.sub(
        r"[^][{},:\s][^][{},:]*(?![^][{},]*:)" if is_container else r"[^,]+",
        lambda part: _number_as_text(part[0]),
        value,
    )


def _number_as_text(part: str) -> str:
    try:
        is_number = isinstance(OverridesParser.create().parse_override(f"key={part}").value(), (bool, int, float))
    except HydraException:
        return part
    return f'"{part.strip()}"' if is_number else part


def _matches(key: str, pattern: str) -> bool:
    parts, patterns = key.split("."), pattern.split(".")
    return len(parts) == len(patterns) and all(each in ("*", part) for part, each in zip(parts, patterns, strict=True))


@cache
def _groups() -> tuple[str, ...]:
    return tuple(str(path.relative_to(CONF_DIR)) for path in sorted(CONF_DIR.rglob("*")) if path.is_dir())
