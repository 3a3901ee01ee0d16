"""The form in which a split of cases is written down.

It says which cases of a dataset belong to which split: train, val (for every choice), test (for the final figures)::

    {"train": {"case_{:05d}": "0-4 7 9-11"}, "test": ["case_00005", "case_00006"]}

Each is a list of names, or a compact mapping from name pattern to numbers with inclusive ranges. A name is a case id,
or a patient, which stands for all its cases; a number is taken as text. ``val`` may be left out; ``dev``, its name in
older files, is read as val. A file may hold several such divisions, each under a key.

A list ``[{"train": [...], "val": [...]}, ...]``, nnU-Net's ``splits_final.json``, gives folds instead, without test.
"""

import os
import re
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from uniseg.errors import InputError
from uniseg.files import read_json

T = TypeVar("T")
SPLITS = ("train", "val", "test")
FORMER_NAMES = {"dev": "val"}  # in files and command lines of earlier versions
REPAIR = "correct the splits"
MOST_NAMES = 1_000_000  # in one split
PATTERN = re.compile(r"[^{}]*\{(:0?[0-9]{0,2}d?)?\}[^{}]*")  # a name with one number of at most 99 digits
RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def current_split(name: str) -> str:
    """The name that a split has today: val for ``dev``."""
    return FORMER_NAMES.get(name, name)


def with_current_splits(values: Mapping[str, T]) -> dict[str, T]:
    """``values`` by split, or beside other keys, under the names that splits have today.

    Example:
        >>> with_current_splits({"train": 3, "dev": 1, "licence": "CC0"})
        {'train': 3, 'val': 1, 'licence': 'CC0'}
    """
    return {current_split(key) if current_split(key) not in values else key: value for key, value in values.items()}


def read_splits(spec: str) -> dict[str, list[str]]:
    """The names in each split, from ``<path>`` or ``<path>#<key>`` of a JSON file.

    Folds have ``fold_0``, ``fold_1``, ... in place of val; what no fold holds out is in train.

    Raises:
        InputError: unreadable file, unknown key, or what ``expand_splits`` or ``expand_folds`` refuses.
    """
    path, _, key = (spec, "", "") if "#" not in spec or os.path.isfile(spec) else spec.rpartition("#")
    values = read_json(path, "a readable JSON file of splits", "correct source.splits", kind=object)
    if key:
        if not isinstance(values, Mapping) or key not in values:
            found = ", ".join(values) if isinstance(values, Mapping) else "a list"
            raise InputError(path, found, f"the key '{key}'", "correct source.splits")
        values = values[key]
    is_folds = isinstance(values, list) and all(isinstance(fold, Mapping) for fold in values)
    return expand_folds(spec, values) if is_folds else expand_splits(spec, values)


def expand_splits(where, splits: Mapping) -> dict[str, list[str]]:
    """The names in each split, in full.

    Raises:
        InputError: an unknown split, no train or no test, a malformed range, a name listed twice.
    """
    current = with_current_splits(splits) if isinstance(splits, Mapping) else {}
    if not {"train", "test"} <= set(current) <= set(SPLITS):
        found = (
            f"the keys {', '.join(map(str, splits))}" if isinstance(splits, Mapping) else f"a {type(splits).__name__}"
        )
        raise InputError(where, found, "the splits train, test and perhaps val", REPAIR)
    expanded = {split: list(_names(where, split, current[split])) for split in SPLITS if split in current}
    first_split: dict[str, str] = {}
    for split, names in expanded.items():
        for name in names:
            if name in first_split:
                raise InputError(where, f"'{name}' in {first_split[name]} and in {split}", "each name once", REPAIR)
            first_split[name] = split
    return expanded


def expand_folds(where, folds: Sequence[Mapping]) -> dict[str, list[str]]:
    """The names in nnU-Net's folds: ``fold_k`` is what fold k holds out, train what none does; a single fold gives
    train with val.

    Raises:
        InputError: a malformed fold, a name that two folds hold out, or a fold that does not train on all the others.
    """
    for number, fold in enumerate(folds):
        if set(fold) != {"train", "val"}:
            raise InputError(where, f"fold {number} with {', '.join(fold) or 'nothing'}", "train and val", REPAIR)
    expanded = [
        {split: list(_names(where, f"fold {number}: {split}", fold[split])) for split in ("train", "val")}
        for number, fold in enumerate(folds)
    ]
    if not expanded:
        raise InputError(where, "an empty list", "one or more folds", REPAIR)
    if len(expanded) == 1:
        return expand_splits(where, {**expanded[0], "test": []})
    held_out = Counter(name for fold in expanded for name in fold["val"])
    twice = [name for name, number in held_out.items() if number > 1]
    if twice:
        raise InputError(
            where, f"'{twice[0]}' held out twice ({len(twice)} such names)", "each name in the val of one fold", REPAIR
        )
    always = [name for name in expanded[0]["train"] if name not in held_out]
    for number, fold in enumerate(expanded):
        expected = {*always, *held_out} - set(fold["val"])
        odd = sorted(expected ^ set(fold["train"]))
        if odd:
            fault = "not in train" if odd[0] in expected else "in train"
            raise InputError(
                where, f"fold {number}: '{odd[0]}' {fault}", "folds that train on all that they do not hold out", REPAIR
            )
    return {"train": always, **{f"fold_{number}": fold["val"] for number, fold in enumerate(expanded)}}


def _names(where, split: str, listed: Mapping[str, str] | list[str]) -> Iterator[str]:
    if isinstance(listed, Mapping):
        yield from _patterned(where, split, listed)
        return
    if not isinstance(listed, list | tuple):
        raise InputError(
            where, f"{split}: {reprlib.repr(listed)}", "a list of names or a mapping from pattern to numbers", REPAIR
        )
    for name in listed:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise InputError(where, f"{split}: {reprlib.repr(name)}", "names", f"put them in quotes, or {REPAIR}")
        yield str(name)


def _patterned(where, split: str, listed: Mapping[str, str]) -> Iterator[str]:
    left = MOST_NAMES
    for pattern, numbers in listed.items():
        for token in str(numbers).split():
            first, last = _range(where, split, pattern, token)
            left -= last - first + 1
            if last < first:
                raise InputError(where, f"{split}: range '{token}'", "the smaller number first", REPAIR)
            if left < 0:
                raise InputError(
                    where, f"{split}: range '{token:.40}'", f"at most {MOST_NAMES} names in a split", REPAIR
                )
            yield from (str(pattern).format(number) for number in range(first, last + 1))


def _range(where, split: str, pattern: str, token: str) -> tuple[int, int]:
    numbers = RANGE.fullmatch(token)
    if numbers is None or PATTERN.fullmatch(str(pattern)) is None:
        found = f"{split}: '{token:.40}' with the pattern '{pattern!s:.60}'"
        raise InputError(where, found, "a number or range, a pattern like case_{:05d}", REPAIR)
    first = int(numbers[1])
    return first, int(numbers[2] or first)
