"""Answers ``--help``: what a command does, its examples, its keys, the groups that it takes."""

import textwrap
from collections.abc import Sequence

from uniseg.commands.catalogue import Catalogue, Key, choices_of, describe_choice, examples_of
from uniseg.commands.suggestions import nearest_word
from uniseg.errors import InputError

FLAGS = ("--help", "-h")
WIDTH, COLUMN = 118, 36


def overview(commands: dict[str, str]) -> str:
    """What ``uniseg --help`` says."""
    lines = [
        "uniseg: one prompt-driven 3D network for many segmentation tasks.",
        "",
        "uniseg <command> [key=value ...]",
    ]
    lines += [f"  {name:<12}{job}" for name, job in commands.items()]
    lines += ["", "uniseg <command> --help says more; python -m uniseg.<command> is the same for all but the last two."]
    return "\n".join(lines)


def unknown_command(name: str, names: Sequence[str]) -> InputError:
    """The error that says which command may have been meant."""
    near = nearest_word(name, names)
    fix = f"did you mean uniseg {near}?" if near else "uniseg --help says what each does"
    return InputError(f"uniseg {name}", "no such command", f"one of {', '.join(names)}", fix)


def command_help(command: str, job: str, arguments: Sequence[str] = ()) -> str:
    """What ``uniseg <command> --help`` says.

    Args:
        arguments: those beside ``--help``: the names of groups to show, and choices such as ``optimizer=adamw``.
    """
    catalogue = Catalogue(command, arguments)
    named = [each for argument in arguments if (each := argument.partition("=")[0]) in catalogue.groups]
    if named:
        return "\n\n".join(_group_help(catalogue, group) for group in named)
    root_keys = [key for key in catalogue.keys.values() if not key.group]
    lines = [f"uniseg {command}: {job}", *(f"  {example}" for example in examples_of(command))]
    lines += ["", "Keys, as key=value (???: must be given):", *(line for key in root_keys for line in _key_lines(key))]
    lines += ["", f"Groups, as group=choice (uniseg {command} --help optimizer lists the keys of one):"]
    for group, chosen in catalogue.groups.items():
        choices = textwrap.shorten(", ".join(choices_of(group)), 180, placeholder=" ...")
        lines += _columns(f"{group}={_choice(chosen)}", choices)
    lines += [
        "",
        "--cfg job prints what a run would be given; -m sweeps over values with commas; --hydra-help: the rest.",
    ]
    return "\n".join(lines)


def _group_help(catalogue: Catalogue, group: str) -> str:
    lines = [f"{group}: one of"]
    for choice in choices_of(group):
        lines += _columns(choice, describe_choice(group, choice))
    prefix = group.replace("/", ".")
    keys = [key for key in catalogue.keys.values() if key.name.startswith(f"{prefix}.")]
    lines += [f"Keys of {group}={_choice(catalogue.groups[group])}:"] if keys else []
    return "\n".join([*lines, *(line for key in keys for line in _key_lines(key))])


def _choice(chosen: object) -> str:
    if isinstance(chosen, list):
        return f"[{','.join(chosen)}]"
    return "null" if chosen is None else str(chosen)


def _key_lines(key: Key) -> list[str]:
    return _columns(f"{key.name}={key.value}", key.comment)


def _columns(left: str, right: str) -> list[str]:
    left = f"  {left}"
    if not right:
        return [left]
    body = textwrap.wrap(right, WIDTH - COLUMN, break_on_hyphens=False)
    head = [f"{left:<{COLUMN}}{body.pop(0)}"] if len(left) < COLUMN else [left]
    return head + [" " * COLUMN + line for line in body]
