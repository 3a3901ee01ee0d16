"""Which cases and patients a network has seen, by whatever way it came to its weights."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from uniseg.datasets.split_file import SIDES
from uniseg.weights.licences import strictness

LEARNT_FROM = ("train", "dev")  # sides that have an influence on weights or choices, and stay recorded


def data_facts(sides: Mapping[str, Iterable[str]], patients: Mapping[str, str], *, licence: str, homepage: str) -> dict:
    """Plain containers about one task's data, as ``UniSegModel.origin["data"]`` holds them by task.

    Args:
        sides: case ids by side.
        patients: case id -> global patient id.
    """
    cases = {side: list(sides[side]) for side in SIDES}
    return {
        "licence": licence,
        "homepage": homepage,
        **cases,
        "patients": {side: sorted({patients[case_id] for case_id in cases[side]}) for side in LEARNT_FROM},
    }


def merge_data(before: Mapping[str, Mapping], after: Mapping[str, Mapping]) -> dict[str, dict]:
    """Facts by task of a network that learnt from ``before``, then from ``after``.

    What was once for training or dev stays so; where licences differ, the stricter holds.
    """
    return {**before, **{name: _merge_facts(before.get(name, {}), facts) for name, facts in after.items()}}


def _merge_facts(before: Mapping, after: Mapping) -> dict:
    merged = {**before, **after}
    for side in LEARNT_FROM:
        if side in before or side in after:
            merged[side] = list(dict.fromkeys([*after.get(side, ()), *before.get(side, ())]))
    patients = [facts["patients"] for facts in (before, after) if "patients" in facts]
    if patients:
        merged["patients"] = {
            side: sorted({patient for own in patients for patient in own.get(side, ())}) for side in LEARNT_FROM
        }
    licences = [facts["licence"] for facts in (before, after) if facts.get("licence")]
    if licences:
        merged["licence"] = max(reversed(licences), key=strictness)
    return merged


@dataclass(frozen=True)
class Seen:
    """A case that a network has seen; ``patient`` is empty where the case itself is recorded, else its patient is."""

    case_id: str
    side: str
    task: str
    patient: str = ""


def find_seen(
    data: Mapping[str, Mapping], task: str, patients: Mapping[str, str], sides: Iterable[str]
) -> Iterator[Seen]:
    """The cases that the record ``data`` holds on ``sides``: by their ids in ``task``, by their patients in every task.

    Args:
        patients: case id -> global patient id of the cases in question.
    """
    for side in sides:
        cases = set(data.get(task, {}).get(side, ()))
        owner = {patient: name for name, facts in data.items() for patient in facts.get("patients", {}).get(side, ())}
        for case_id in sorted(patients):
            if case_id in cases:
                yield Seen(case_id, side, task)
            elif patients[case_id] in owner:
                yield Seen(case_id, side, owner[patients[case_id]], patients[case_id])
