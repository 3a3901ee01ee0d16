"""A part of the scans of a call, for one of several GPUs or machines."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from uniseg.errors import InputError
from uniseg.settings import matching

PATTERN = r"\d+/[1-9]\d*"
SHARD = matching(PATTERN, "a number and how many there are, from 0/4 to 3/4")
T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``count``, counted from 0: of the scans in the order of their names every ``count``-th.

    Examples:
        >>> Shard.of("1/2").take(["d", "b", "a", "c"], key=str)
        ['b', 'd']
    """

    number: int = 0
    count: int = 1

    @classmethod
    def of(cls, text: str | None) -> "Shard":
        """
        Args:
            text: as ``1/4``; None: all.

        Raises:
            InputError: no such part.
        """
        if text is None:
            return cls()
        number, count = map(int, str(text).split("/")) if re.fullmatch(PATTERN, str(text)) else (0, 0)
        if number >= count:
            fix = "count the parts from 0: of four, shard=0/4 to shard=3/4"
            raise InputError("shard", f"'{text}'", SHARD.expected, fix)
        return cls(number, count)

    def take(self, items: Sequence[T], key: Callable[[T], str]) -> list[T]:
        """Those of ``items`` that are in this part; the same for every process that sees the same items."""
        return sorted(items, key=key)[self.number :: self.count] if self.count > 1 else list(items)
