"""Who is for training, who for choosing, who for the one final test."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from uniseg.datasets.case import Case
from uniseg.datasets.split_file import SIDES, assign_sides
from uniseg.errors import InputError

NUM_FOLDS = 5
TEST_FRACTION = 0.2


@dataclass(frozen=True)
class Split:
    """Case ids per side."""

    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]

    def __getitem__(self, side: str) -> tuple[str, ...]:
        return getattr(self, side)


@dataclass(frozen=True)
class SplitTable:
    """The sides of one task's cases for every fold, as ``splits.json`` holds them.

    Attributes:
        test: whatever the fold.
        folds: each is dev in its turn and for training otherwise; one alone was given, and may be empty.
        rest: always for training.
        patients: case id -> global patient id.
    """

    test: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]
    rest: tuple[str, ...]
    patients: Mapping[str, str]

    def fold(self, name: str, number: int) -> Split:
        """Sides for fold ``number``.

        Raises:
            InputError: no such fold, or it leaves nothing for training or for dev.
        """
        if not 0 <= number < len(self.folds):
            raise InputError(f"task '{name}'", f"fold {number}", f"0 to {len(self.folds) - 1}", "correct data.fold")
        train = [case for k, fold in enumerate(self.folds) if k != number for case in fold]
        split = Split(tuple(sorted((*self.rest, *train))), self.folds[number], self.test)
        for side in ("train",) if len(self.folds) == 1 else ("train", "dev"):
            if not split[side]:
                found = f"no {side} case in fold {number} among {len(set(self.patients.values()))} patients"
                raise InputError(
                    f"task '{name}'", found, "at least one", "list the sides in source.splits of the task file"
                )
        return split

    def to_dict(self) -> dict:
        return {
            "test": list(self.test),
            "folds": [list(f) for f in self.folds],
            "rest": list(self.rest),
            "patients": dict(self.patients),
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> "SplitTable":
        return cls(
            tuple(values["test"]), tuple(tuple(f) for f in values["folds"]), tuple(values["rest"]), values["patients"]
        )


def first_patients(name: str, split: Split, patients: Mapping[str, str], number: int, seed: int) -> Split:
    """``split`` with the training cases of ``number`` patients, drawn by ``seed``; a larger number keeps the patients
    of a smaller.

    Raises:
        InputError: there are fewer.
    """
    train = {patients[case_id] for case_id in split.train}
    if not 0 < number <= len(train):
        raise InputError(
            f"task '{name}'",
            f"data.num_patients {number}",
            f"1 to {len(train)}, the patients of the training side",
            "correct the number",
        )
    kept = sorted(train, key=lambda patient: _fraction(patient, f"first {seed}"))[:number]
    return replace(split, train=tuple(case_id for case_id in split.train if patients[case_id] in kept))


def split_cases(name: str, cases: Sequence[Case], given: Mapping[str, Sequence[str]] | None) -> SplitTable:
    """Sides by patient.

    ``given`` lists case ids or patients per side (see ``split_file``); cases that it does not list are not used, but
    where it has no test, cases that their dataset states to be for test are. Without ``given``, the sides that the
    dataset states hold, the other cases are for training. Where it states none, a hash of the global patient id
    decides: a fifth of the patients is for test; a patient thus has one side in every dataset, and a set so small that
    a side stays empty moves one patient. Where neither dev nor folds result, the training patients fall into five folds
    by the same hash.

    Raises:
        InputError: an unknown or repeated name, or a patient on two sides.
    """
    stated = {case.case_id: case.side for case in cases if case.side}
    if given:
        listed = assign_sides(f"task '{name}' splits", given, cases)
        sides = (
            listed
            if "test" in given
            else {case_id: side for case_id, side in stated.items() if side == "test"} | listed
        )
    else:
        sides = {case.case_id: case.side or "train" for case in cases} if stated else hash_test_sides(cases)
    used = [case for case in cases if case.case_id in sides]
    patients = {case.case_id: case.patient_id for case in used}

    def on(side: str) -> tuple[str, ...]:
        return tuple(case.case_id for case in used if sides[case.case_id] == side)

    held_out = [side for side in given or dict.fromkeys(stated.values()) if side not in ("train", "test")]
    if held_out:
        return SplitTable(on("test"), tuple(on(side) for side in held_out), on("train"), patients)
    fold_of = hash_folds({patients[case_id] for case_id in on("train")})
    folds = tuple(
        tuple(case_id for case_id in on("train") if fold_of[patients[case_id]] == k) for k in range(NUM_FOLDS)
    )
    return SplitTable(on("test"), folds, (), patients)


def hash_test_sides(cases: Sequence[Case]) -> dict[str, str]:
    """Case id -> test or train; where the hash leaves no patient for test, the one nearest to it goes there."""
    fraction = {case.patient_id: _fraction(case.patient_id, "test") for case in cases}
    bound = max(TEST_FRACTION, min(fraction.values())) if len(fraction) > 1 else TEST_FRACTION
    return {case.case_id: "test" if fraction[case.patient_id] <= bound else "train" for case in cases}


def hash_folds(patients: Collection[str]) -> dict[str, int]:
    """Patient -> fold; a fold that the hash leaves empty takes one patient from the largest."""
    fraction = {patient: _fraction(patient, "fold") for patient in sorted(patients)}
    fold_of = {patient: int(value * NUM_FOLDS) for patient, value in fraction.items()}
    for empty in sorted(set(range(NUM_FOLDS)) - set(fold_of.values())):
        sizes = Counter(fold_of.values())
        largest = max(sizes, key=lambda k: (sizes[k], -k), default=None)
        if largest is None or sizes[largest] < 2:
            break
        fold_of[min((p for p in fold_of if fold_of[p] == largest), key=fraction.get)] = empty
    return fold_of


def check_patients(tables: Mapping[str, SplitTable], fold: int) -> None:
    """No patient is on two sides, over all tasks.

    Raises:
        InputError: names the first such patient with both places.
    """
    for found in patients_on_two_sides(tables, fold):
        raise InputError("splits", found, "one side per patient", "correct source.splits")


def patients_on_two_sides(tables: Mapping[str, SplitTable], fold: int) -> Iterator[str]:
    """Each such patient with both places, once per case that disagrees with the patient's first."""
    seen: dict[str, tuple[str, str]] = {}
    for name, table in tables.items():
        split = table.fold(name, fold)
        for side in SIDES:
            for case_id in split[side]:
                patient = table.patients[case_id]
                task, other = seen.setdefault(patient, (name, side))
                if other != side:
                    yield f"patient '{patient}' in {other} of '{task}' and in {side} of '{name}'"


@dataclass(frozen=True)
class Repeat:
    """A scan whose voxels were seen before, in the same or another task; sides are those of one fold."""

    task: str
    case_id: str
    side: str
    first_task: str
    first_case_id: str
    first_side: str

    def __str__(self) -> str:
        return f"the voxels of '{self.first_case_id}' of '{self.first_task}' ({self.first_side}), here for {self.side}"


def repeated_scans(
    tables: Mapping[str, SplitTable], hashes: Mapping[str, Mapping[str, str]], fold: int
) -> Iterator[Repeat]:
    """Each such scan with its first place.

    Args:
        hashes: per task: case id -> hash of the image, of the cases whose hash is known.
    """
    seen: dict[str, tuple[str, str, str]] = {}
    for name, table in tables.items():
        split = table.fold(name, fold)
        sides = {case_id: side for side in SIDES for case_id in split[side]}
        for case_id, image_hash in hashes[name].items():
            if case_id in sides:
                first = seen.setdefault(image_hash, (name, case_id, sides[case_id]))
                if first[:2] != (name, case_id):
                    yield Repeat(name, case_id, sides[case_id], *first)


def check_scans(tables: Mapping[str, SplitTable], hashes: Mapping[str, Mapping[str, str]], fold: int) -> None:
    """No scan is on two sides, over all tasks, whatever its names.

    Raises:
        InputError: names the first such scan with both places.
    """
    for scan in repeated_scans(tables, hashes, fold):
        if scan.side != scan.first_side:
            where = f"case '{scan.case_id}' of task '{scan.task}'"
            raise InputError(
                where, str(scan), "one scan on one side", "give both one patient, or leave one task out; prepare again"
            )


def _fraction(patient_id: str, purpose: str) -> float:
    digest = hashlib.sha256(f"{purpose}/{patient_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
