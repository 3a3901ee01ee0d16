"""The form in which a split of cases is written down.

A split says of a dataset's cases which are for training, development, test::

    {"train": {"case_{:05d}": "0-4 7 9-11"}, "test": ["case_00005", "case_00006"]}

A side is a list of names, or a compact mapping from name pattern to numbers with inclusive ranges. A name is a case id,
or a patient, which stands for all its cases; a number is taken as text. ``dev`` may be left out. A file may hold
several splits, each under a key.

A list ``[{"train": [...], "val": [...]}, ...]``, nnU-Net's ``splits_final.json``, gives folds instead, without test.
"""

import os
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from uniseg.datasets.case import Case
from uniseg.errors import InputError
from uniseg.files import read_json

SIDES = ("train", "dev", "test")
REPAIR = "correct the split"
MOST_NAMES = 1_000_000  # on one side
PATTERN = re.compile(r"[^{}]*\{(:0?[0-9]{0,2}d?)?\}[^{}]*")  # a name with one number of at most 99 digits
RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def read_split(spec: str) -> dict[str, list[str]]:
    """The names on each side, from ``<path>`` or ``<path>#<key>`` of a JSON file.

    Folds have the sides ``fold_0``, ``fold_1``, ... in place of dev; what no fold holds out is on the side train.

    Raises:
        InputError: unreadable file, unknown key, or what ``expand_split`` or ``expand_folds`` refuses.
    """
    path, _, key = (spec, "", "") if "#" not in spec or os.path.isfile(spec) else spec.rpartition("#")
    values = read_json(path, "a readable JSON file of splits", "correct source.splits", kind=object)
    if key:
        if not isinstance(values, Mapping) or key not in values:
            found = ", ".join(values) if isinstance(values, Mapping) else "a list"
            raise InputError(path, found, f"the key '{key}'", "correct source.splits")
        values = values[key]
    is_folds = isinstance(values, list) and all(isinstance(fold, Mapping) for fold in values)
    return expand_folds(spec, values) if is_folds else expand_split(spec, values)


def expand_split(where, sides: Mapping) -> dict[str, list[str]]:
    """The names on each side, in full.

    Raises:
        InputError: an unknown side, no train or no test, a malformed range, a name listed twice.
    """
    if not isinstance(sides, Mapping) or not {"train", "test"} <= set(sides) <= set(SIDES):
        found = f"the keys {', '.join(map(str, sides))}" if isinstance(sides, Mapping) else f"a {type(sides).__name__}"
        raise InputError(where, found, "the sides train, test and perhaps dev", REPAIR)
    split = {side: list(_names(where, side, sides[side])) for side in SIDES if side in sides}
    first_side: dict[str, str] = {}
    for side, names in split.items():
        for name in names:
            if name in first_side:
                raise InputError(where, f"'{name}' in {first_side[name]} and in {side}", "each name once", REPAIR)
            first_side[name] = side
    return split


def expand_folds(where, folds: Sequence[Mapping]) -> dict[str, list[str]]:
    """The names on each side of nnU-Net's folds: ``fold_k`` is what fold k holds out; a single fold gives train with
    dev.

    Raises:
        InputError: a malformed fold, a name that two folds hold out, or a fold that does not train on all the others.
    """
    for number, fold in enumerate(folds):
        if set(fold) != {"train", "val"}:
            raise InputError(where, f"fold {number} with {', '.join(fold) or 'nothing'}", "train and val", REPAIR)
    sides = [
        {side: list(_names(where, f"fold {number}: {side}", fold[side])) for side in ("train", "val")}
        for number, fold in enumerate(folds)
    ]
    if not sides:
        raise InputError(where, "an empty list", "one or more folds", REPAIR)
    if len(sides) == 1:
        return expand_split(where, {"train": sides[0]["train"], "dev": sides[0]["val"], "test": []})
    held_out = Counter(name for fold in sides for name in fold["val"])
    twice = [name for name, number in held_out.items() if number > 1]
    if twice:
        raise InputError(
            where, f"'{twice[0]}' held out twice ({len(twice)} such names)", "each name in the val of one fold", REPAIR
        )
    always = [name for name in sides[0]["train"] if name not in held_out]
    for number, fold in enumerate(sides):
        expected = {*always, *held_out} - set(fold["val"])
        odd = sorted(expected ^ set(fold["train"]))
        if odd:
            fault = "not in train" if odd[0] in expected else "in train"
            raise InputError(
                where, f"fold {number}: '{odd[0]}' {fault}", "folds that train on all that they do not hold out", REPAIR
            )
    return {"train": always, **{f"fold_{number}": fold["val"] for number, fold in enumerate(sides)}}


def assign_sides(where, split: Mapping[str, list[str]], cases: Iterable[Case]) -> dict[str, str]:
    """Case id -> side. A case that the split does not name is left out.

    Raises:
        InputError: a name that is neither a case nor a patient of the dataset, or a patient on two sides.
    """
    side_of_name = {name: side for side, names in split.items() for name in names}
    sides: dict[str, str] = {}
    side_of_patient: dict[str, str] = {}
    used = set()
    for case in cases:
        names = {case.case_id, case.patient_id.split("/", 1)[-1]} & side_of_name.keys()
        used |= names
        for name in sorted(names):
            side = sides[case.case_id] = side_of_name[name]
            if side_of_patient.setdefault(case.patient_id, side) != side:
                raise InputError(
                    where,
                    f"patient '{case.patient_id}' in {side_of_patient[case.patient_id]} and in {side}",
                    "each patient on one side",
                    REPAIR,
                )
    unknown = [name for name in side_of_name if name not in used]
    if unknown:
        found = f"'{unknown[0]}' ({len(unknown)} unknown names)"
        raise InputError(
            where,
            found,
            "names of labelled cases or patients of the dataset",
            "restore the cases or name another split",
        )
    return sides


def _names(where, side: str, listed: Mapping[str, str] | list[str]) -> Iterator[str]:
    if isinstance(listed, Mapping):
        yield from _patterned(where, side, listed)
        return
    if not isinstance(listed, list | tuple):
        raise InputError(
            where, f"{side}: {reprlib.repr(listed)}", "a list of names or a mapping from pattern to numbers", REPAIR
        )
    for name in listed:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise InputError(where, f"{side}: {reprlib.repr(name)}", "names", f"put them in quotes, or {REPAIR}")
        yield str(name)


def _patterned(where, side: str, listed: Mapping[str, str]) -> Iterator[str]:
    left = MOST_NAMES
    for pattern, numbers in listed.items():
        for token in str(numbers).split():
            first, last = _range(where, side, pattern, token)
            left -= last - first + 1
            if last < first:
                raise InputError(where, f"{side}: range '{token}'", "the smaller number first", REPAIR)
            if left < 0:
                raise InputError(where, f"{side}: range '{token:.40}'", f"at most {MOST_NAMES} names on a side", REPAIR)
            yield from (str(pattern).format(number) for number in range(first, last + 1))


def _range(where, side: str, pattern: str, token: str) -> tuple[int, int]:
    numbers = RANGE.fullmatch(token)
    if numbers is None or PATTERN.fullmatch(str(pattern)) is None:
        found = f"{side}: '{token:.40}' with the pattern '{pattern!s:.60}'"
        raise InputError(where, found, "a number or range, a pattern like case_{:05d}", REPAIR)
    first = int(numbers[1])
    return first, int(numbers[2] or first)
