"""Completes ``uniseg`` in a shell: commands, groups, choices, keys; reads YAML alone, so that a tab takes no second."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from uniseg.commands.catalogue import Catalogue, choices_of
from uniseg.errors import InputError

# Readline cuts words at '=' and ':': what stands before the last of them is already there.
BASH = """_uniseg_complete() {
    local IFS=$'\\n'
    COMPREPLY=($(uniseg completion words "$COMP_WORDBREAKS" "${COMP_LINE:0:$COMP_POINT}" 2> /dev/null))
}
complete -o nospace -o default -F _uniseg_complete uniseg"""
WORDS = "words"  # what the functions of the shells ask for
ZSH = f"autoload -U +X bashcompinit && bashcompinit\n{BASH}"
SCRIPTS = {"bash": BASH, "zsh": ZSH}


def script(shell: str = "") -> str:
    """What a shell evaluates to complete ``uniseg``.

    Raises:
        InputError: a shell that is not known.
    """
    if shell not in SCRIPTS:
        fix = 'put eval "$(uniseg completion bash)" into ~/.bashrc'
        raise InputError("uniseg completion", f"'{shell}'", f"one of {', '.join(SCRIPTS)}", fix)
    return SCRIPTS[shell]


def complete(commands: Collection[str], word_breaks: str, line: str) -> list[str]:
    """What the last word of a command line may become.

    Examples:
        >>> complete(["train"], "=", "uniseg train optimizer=ad")
        ['adamw ']
    """
    _, *words = line.split(" ")
    words = [word for word in words[:-1] if word] + words[-1:]
    if len(words) < 2:
        candidates: Iterable[str] = (f"{name} " for name in commands)
    else:
        candidates = _candidates(words[0], words[1:-1], words[-1]) if words[0] in commands else ()
    word = words[-1] if words else ""
    cut = max((word.rfind(each) + 1 for each in word_breaks if each in "=:"), default=0)
    return sorted({each[cut:] for each in candidates if each.startswith(word)})


def _candidates(command: str, before: Sequence[str], word: str) -> Iterator[str]:
    catalogue = Catalogue(command, before)
    key, equals, value = word.partition("=")
    if equals:
        if key in catalogue.groups:
            opened, comma, _ = value.rpartition(",")
            start = f"{key}={opened}{comma}" if comma else f"{key}={'[' if value.startswith('[') else ''}"
            end = "" if value.startswith("[") else " "
            yield from (f"{start}{choice}{end}" for choice in choices_of(key))
        return
    yield from (f"{group}=" for group in catalogue.groups)
    for name in catalogue.keys:
        head, dot, _ = name[len(word) :].partition(".")
        yield word + head + dot if dot and name.startswith(word) else f"{name}="
