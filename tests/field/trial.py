"""One hostile input: the commands that meet it, what they may write, what has to come of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from field.world import World

Command = tuple[str, ...]  # its name, then overrides


@dataclass(frozen=True)
class Trial:
    """
    Attributes:
        what: was done to the input, in words.
        commands: run one after the other until one does not end with exit code 0.
        outputs: names in the scratch folder below which the commands may write.
        adds_anywhere: new files may lie elsewhere in the scratch folder too, since a setting says where.
        must_refuse: the last command may not succeed.
        file_bytes: no file grows beyond it.
        signal: number, seconds after which the first command gets it; the second command has to succeed nevertheless.
        same: folder or file of the scratch folder that has to hold ``expected`` afterwards, by ``results.digest``.
        cleanup: undoes what the scratch folder cannot take with it when it is removed, such as a mount.
    """

    what: str
    commands: tuple[Command, ...]
    outputs: tuple[str, ...] = ("out",)
    adds_anywhere: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    must_refuse: bool = False
    file_bytes: int | None = None
    signal: tuple[int, float] | None = None
    same: str | None = None
    expected: Mapping[str, str] | None = None
    cleanup: Callable[[], object] | None = None


Maker = Callable[[World, Path, Random], Trial]
