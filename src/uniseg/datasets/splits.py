"""Which patients are for training, which for validation, which for the final test."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from uniseg.datasets.case import Case
from uniseg.datasets.split_file import REPAIR, SPLITS
from uniseg.errors import InputError

NUM_FOLDS = 5
TEST_FRACTION = 0.2


@dataclass(frozen=True)
class Splits:
    """Case ids per split, of one fold.

    Example:
        >>> Splits(train=("a", "b"), val=("c",), test=())["val"]
        ('c',)
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    def __getitem__(self, split: str) -> tuple[str, ...]:
        return getattr(self, split)


@dataclass(frozen=True)
class SplitTable:
    """The splits of one task's cases for every fold, as ``splits.json`` holds them.

    Attributes:
        test: whatever the fold.
        folds: each is val in its turn and for training otherwise; one alone was given, and may be empty.
        rest: always for training.
        patients: case id -> global patient id.

    Examples:
        >>> table = SplitTable(("t",), (("a",), ("b",)), ("r",), {name: f"set/{name}" for name in "tabr"})
        >>> table.fold("liver", 0)
        Splits(train=('b', 'r'), val=('a',), test=('t',))
    """

    test: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]
    rest: tuple[str, ...]
    patients: Mapping[str, str]

    def fold(self, name: str, number: int) -> Splits:
        """Splits for fold ``number``.

        Raises:
            InputError: no such fold, or it leaves nothing for train or val.
        """
        if not 0 <= number < len(self.folds):
            raise InputError(f"task '{name}'", f"fold {number}", f"0 to {len(self.folds) - 1}", "correct data.fold")
        train = [case for k, fold in enumerate(self.folds) if k != number for case in fold]
        splits = Splits(tuple(sorted((*self.rest, *train))), self.folds[number], self.test)
        for split in ("train",) if len(self.folds) == 1 else ("train", "val"):
            if not splits[split]:
                found = f"no {split} case in fold {number} among {len(set(self.patients.values()))} patients"
                fix = "list the cases of each split in source.splits of the task file"
                raise InputError(f"task '{name}'", found, "at least one", fix)
        return splits

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


def first_patients(name: str, splits: Splits, patients: Mapping[str, str], number: int, seed: int) -> Splits:
    """``splits`` with the training cases of ``number`` patients, drawn by ``seed``; a larger number keeps the patients
    of a smaller.

    Raises:
        InputError: the training split has fewer patients.
    """
    train = {patients[case_id] for case_id in splits.train}
    if not 0 < number <= len(train):
        raise InputError(
            f"task '{name}'",
            f"data.num_patients {number}",
            f"1 to {len(train)}, the patients of the training split",
            "correct the number",
        )
    kept = sorted(train, key=lambda patient: _fraction(patient, f"first {seed}"))[:number]
    return replace(splits, train=tuple(case_id for case_id in splits.train if patients[case_id] in kept))


def split_cases(name: str, cases: Sequence[Case], given: Mapping[str, Sequence[str]] | None) -> SplitTable:
    """Splits by patient.

    ``given`` lists case ids or patients per split (see ``split_file``); cases that it does not list are not used, but
    where it has no test, cases that their dataset states to be for test are. Without ``given``, the splits that the
    dataset states hold, the other cases are for training. Where it states none, a hash of the global patient id
    decides: a fifth of the patients is for test; a patient thus has one split in every dataset, and a set so small that
    a split stays empty moves one patient. Where neither val nor folds result, the training patients fall into five
    folds by the same hash.

    Raises:
        InputError: an unknown or repeated name, or a patient in two splits.
    """
    stated = {case.case_id: case.split for case in cases if case.split}
    if given:
        splits = assign_splits(f"task '{name}' splits", given, cases)
        if "test" not in given:
            splits = {case_id: split for case_id, split in stated.items() if split == "test"} | splits
    else:
        splits = {case.case_id: case.split or "train" for case in cases} if stated else hash_test_split(cases)
    used = [case for case in cases if case.case_id in splits]
    patients = {case.case_id: case.patient_id for case in used}

    def cases_of(split: str) -> tuple[str, ...]:
        return tuple(case.case_id for case in used if splits[case.case_id] == split)

    test, train = cases_of("test"), cases_of("train")
    held_out = [split for split in given or dict.fromkeys(stated.values()) if split not in ("train", "test")]
    if held_out:
        return SplitTable(test, tuple(map(cases_of, held_out)), train, patients)
    fold_of = hash_folds({patients[case_id] for case_id in train})
    folds = tuple(tuple(case_id for case_id in train if fold_of[patients[case_id]] == k) for k in range(NUM_FOLDS))
    return SplitTable(test, folds, (), patients)


def assign_splits(where, names_of: Mapping[str, Sequence[str]], cases: Iterable[Case]) -> dict[str, str]:
    """Case id -> split. A case that no split names is left out.

    Args:
        names_of: case ids or patients by split.

    Raises:
        InputError: a name that is neither a case nor a patient of the dataset, or a patient in two splits.
    """
    split_of_name = {name: split for split, names in names_of.items() for name in names}
    assigned: dict[str, str] = {}
    split_of_patient: dict[str, str] = {}
    used = set()
    for case in cases:
        names = {case.case_id, case.patient_id.split("/", 1)[-1]} & split_of_name.keys()
        used |= names
        for name in sorted(names):
            split = assigned[case.case_id] = split_of_name[name]
            if split_of_patient.setdefault(case.patient_id, split) != split:
                raise InputError(
                    where,
                    f"patient '{case.patient_id}' in {split_of_patient[case.patient_id]} and in {split}",
                    "each patient in one split",
                    REPAIR,
                )
    unknown = [name for name in split_of_name if name not in used]
    if unknown:
        found = f"'{unknown[0]}' ({len(unknown)} unknown names)"
        raise InputError(
            where,
            found,
            "names of labelled cases or patients of the dataset",
            "restore the cases, or correct source.splits",
        )
    return assigned


def hash_test_split(cases: Sequence[Case]) -> dict[str, str]:
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
    """No patient is in two splits, over all tasks.

    Raises:
        InputError: names the first such patient with both places.
    """
    for found in patients_in_two_splits(tables, fold):
        raise InputError("splits", found, "one split per patient", "correct source.splits")


def patients_in_two_splits(tables: Mapping[str, SplitTable], fold: int) -> Iterator[str]:
    """Each such patient with both places, once per case that disagrees with the patient's first."""
    seen: dict[str, tuple[str, str]] = {}
    for name, table in tables.items():
        splits = table.fold(name, fold)
        for split in SPLITS:
            for case_id in splits[split]:
                patient = table.patients[case_id]
                task, other = seen.setdefault(patient, (name, split))
                if other != split:
                    yield f"patient '{patient}' in {other} of '{task}' and in {split} of '{name}'"


@dataclass(frozen=True)
class Repeat:
    """A scan whose voxels were seen before, in the same or another task; splits are those of one fold.

    Examples:
        >>> str(Repeat("lung", "b1", "test", "liver", "a1", "train"))
        "the voxels of 'a1' of 'liver' (train), here for test"
    """

    task: str
    case_id: str
    split: str
    first_task: str
    first_case_id: str
    first_split: str

    def __str__(self) -> str:
        return (
            f"the voxels of '{self.first_case_id}' of '{self.first_task}' ({self.first_split}), here for {self.split}"
        )


def repeated_scans(
    tables: Mapping[str, SplitTable], hashes: Mapping[str, Mapping[str, str]], fold: int
) -> Iterator[Repeat]:
    """Each such scan with its first place.

    Args:
        hashes: per task: case id -> hash of the image, of the cases whose hash is known.
    """
    seen: dict[str, tuple[str, str, str]] = {}
    for name, table in tables.items():
        splits = table.fold(name, fold)
        split_of = {case_id: split for split in SPLITS for case_id in splits[split]}
        for case_id, image_hash in hashes[name].items():
            if case_id in split_of:
                first = seen.setdefault(image_hash, (name, case_id, split_of[case_id]))
                if first[:2] != (name, case_id):
                    yield Repeat(name, case_id, split_of[case_id], *first)


def check_scans(tables: Mapping[str, SplitTable], hashes: Mapping[str, Mapping[str, str]], fold: int) -> None:
    """No scan is in two splits, over all tasks, whatever its names.

    Raises:
        InputError: names the first such scan with both places.
    """
    for scan in repeated_scans(tables, hashes, fold):
        if scan.split != scan.first_split:
            where = f"case '{scan.case_id}' of task '{scan.task}'"
            fix = "give both one patient, or leave one task out; prepare again"
            raise InputError(where, str(scan), "each scan in one split", fix)


def _fraction(patient_id: str, purpose: str) -> float:
    digest = hashlib.sha256(f"{purpose}/{patient_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
