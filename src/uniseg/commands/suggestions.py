"""Names the nearest right key, group or choice where one on the command line is misspelt."""

from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches

from uniseg.commands.catalogue import Catalogue, choices_of
from uniseg.errors import InputError

CLOSE = 0.6  # difflib's ratio, of whole names; of a last part alone, which says less, CLOSE_PART
CLOSE_PART = 0.75


def misspelt(command: str, arguments: Sequence[str]) -> InputError | None:
    """What is wrong with the first argument that names a key, group or choice which the command does not have.

    Examples:
        >>> str(misspelt("train", ["optimiser.lr=1"])).rpartition("; ")[2]
        'did you mean optimizer.lr?'
    """
    catalogue = Catalogue(command, arguments)
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.startswith(("-", "+", "hydra")):
            continue
        key = key.lstrip("~")
        if key in catalogue.groups:
            if error := _wrong_choice(argument, key, value):
                return error
        elif not _is_key(key, catalogue):
            where = f"argument '{argument}'"
            near = nearest_key(key, [*catalogue.keys, *_parents(catalogue.keys), *catalogue.groups])
            fix = f"did you mean {near}?" if near else f"uniseg {command} --help lists them"
            return InputError(where, f"no key or group '{key}'", f"one that uniseg {command} has", fix)
    return None


def nearest_key(name: str, keys: Collection[str]) -> str | None:
    """The key that ``name`` may have been meant as: spelt nearly so, or with nearly such a last part."""
    if close := get_close_matches(name, keys, n=1, cutoff=CLOSE):
        return close[0]
    parts: dict[str, list[str]] = {}
    for key in keys:
        parts.setdefault(key.rpartition(".")[2], []).append(key)
    part = get_close_matches(name.rpartition(".")[2], parts, n=1, cutoff=CLOSE_PART)
    return min(parts[part[0]], key=len) if part else None


def nearest_word(value: object, words: Collection[str]) -> str | None:
    """The word that a value may have been meant as."""
    close = get_close_matches(value, words, n=1, cutoff=CLOSE) if isinstance(value, str) else []
    return close[0] if close else None


def _wrong_choice(argument: str, group: str, value: str) -> InputError | None:
    if "{" in value:  # a mapping, an interpolation
        return None
    choices = choices_of(group)
    for choice in (each.strip("[]\"' ") for each in value.split(",")):
        if choice and choice != "null" and choice not in choices:
            near = nearest_word(choice, choices)
            fix = f"did you mean {near}?" if near else "choose one"
            return InputError(f"argument '{argument}'", f"no {group} '{choice}'", f"one of {', '.join(choices)}", fix)
    return None


def _is_key(key: str, catalogue: Catalogue) -> bool:
    return key in catalogue.keys or any(name.startswith(f"{key}.") for name in catalogue.keys)


def _parents(keys: Collection[str]) -> Iterator[str]:
    for key in keys:
        while key := key.rpartition(".")[0]:
            yield key
