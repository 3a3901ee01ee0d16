"""Which cases and patients a network has seen, however it came to its weights."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from uniseg.datasets.split_file import SPLITS, with_current_splits
from uniseg.weights.licences import strictness

LEARNT_FROM = ("train", "val")  # splits that have an influence on weights or choices, and stay recorded


def data_facts(
    splits: Mapping[str, Iterable[str]],
    patients: Mapping[str, str],
    *,
    licence: str,
    homepage: str,
    citation: str = "",
    statistics: Mapping | None = None,
) -> dict:
    """Plain containers about one task's data, as ``Provenance.data`` holds them by task.

    Args:
        splits: case ids by split.
        patients: case id -> global patient id.
        statistics: of ``TaskStatistics.to_dict``.
    """
    cases = {split: list(splits[split]) for split in SPLITS}
    return {
        "licence": licence,
        "homepage": homepage,
        **({"citation": citation} if citation else {}),
        **cases,
        "patients": {split: sorted({patients[case_id] for case_id in cases[split]}) for split in LEARNT_FROM},
        **({} if statistics is None else {"statistics": dict(statistics)}),
    }


def current_facts(facts: Mapping) -> dict:
    """``facts`` of a file of any version, by the names that splits have today."""
    current = with_current_splits(facts)
    if isinstance(current.get("patients"), Mapping):
        current["patients"] = with_current_splits(current["patients"])
    return current


def merge_data(before: Mapping[str, Mapping], after: Mapping[str, Mapping]) -> dict[str, dict]:
    """Facts by task of a network that learnt from ``before``, then from ``after``.

    What was once for training or validation stays so; where licences differ, the stricter holds.
    """
    return {**before, **{name: _merge_facts(before.get(name, {}), facts) for name, facts in after.items()}}


def _merge_facts(before: Mapping, after: Mapping) -> dict:
    merged = {**before, **after}
    for split in LEARNT_FROM:
        if split in before or split in after:
            merged[split] = list(dict.fromkeys([*after.get(split, ()), *before.get(split, ())]))
    patients = [facts["patients"] for facts in (before, after) if "patients" in facts]
    if patients:
        merged["patients"] = {
            split: sorted({patient for each in patients for patient in each.get(split, ())}) for split in LEARNT_FROM
        }
    licences = [facts["licence"] for facts in (before, after) if facts.get("licence")]
    if licences:
        merged["licence"] = max(reversed(licences), key=strictness)
    return merged


@dataclass(frozen=True)
class Seen:
    """A case that a network has seen; ``patient`` is empty where the case itself is recorded, else its patient is.

    Examples:
        >>> Seen("case_1", "train", "liver").patient
        ''
    """

    case_id: str
    split: str
    task: str
    patient: str = ""


def find_seen(
    data: Mapping[str, Mapping], task: str, patients: Mapping[str, str], splits: Iterable[str]
) -> Iterator[Seen]:
    """The cases that ``data`` records in ``splits``: by their ids in ``task``, by their patients in every task.

    Args:
        patients: case id -> global patient id of the cases in question.
    """
    for split in splits:
        cases = set(data.get(task, {}).get(split, ()))
        owners = {patient: name for name, facts in data.items() for patient in facts.get("patients", {}).get(split, ())}
        for case_id in sorted(patients):
            if case_id in cases:
                yield Seen(case_id, split, task)
            elif patients[case_id] in owners:
                yield Seen(case_id, split, owners[patients[case_id]], patients[case_id])
