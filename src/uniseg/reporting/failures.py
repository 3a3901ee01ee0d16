"""Where a run fails: cases of which a class was missed whole, then the worst of every task."""

from collections.abc import Sequence
from dataclasses import dataclass

from uniseg.reporting.run import CaseResult, Run
from uniseg.reporting.tables import number, volume

MOST_ROWS = 30
PER_TASK = 2  # of the cases that the viewer holds
Key = tuple[str, str]  # task, case


@dataclass(frozen=True)
class Failure:
    """A row: what went wrong in a case.

    Attributes:
        link: where the page shows the case.

    Examples:
        >>> Failure("liver", "case_7", "tumour", "missed, 12 ml", "0.412", "#view-0").class_name
        'tumour'
    """

    task: str
    case_id: str
    class_name: str
    what: str
    dice: str
    link: str

    @property
    def is_miss(self) -> bool:
        return bool(self.class_name)


def failures(run: Run, viewed: Sequence[Key]) -> list[Failure]:
    """Complete misses by falling volume, then the worst case of each task that has none.

    Args:
        viewed: cases of the viewer, in its order.
    """
    links = case_links(run, viewed)
    missed = [(score, case) for case in run.cases for score in case.scores if score.complete_miss]
    missed.sort(key=lambda pair: (-pair[0].reference_ml, pair[1].task, pair[1].case_id))
    rows = [
        Failure(case.task, case.case_id, score.class_name, f"missed, {volume(score.reference_ml)} ml",
                number(case.dice), links[case.task, case.case_id])
        for score, case in missed
    ]  # fmt: skip
    with_misses = {case.task for _, case in missed}
    for task in run.tasks:
        if task.name not in with_misses and task.cases:
            worst = min(task.cases, key=_rank)
            link = links[task.name, worst.case_id]
            rows.append(Failure(task.name, worst.case_id, "", _lowest(worst), number(worst.dice), link))
    return rows


def cases_to_view(run: Run, most: int) -> list[tuple[str, CaseResult]]:
    """Task and case: those with complete misses first, each time the worst; no task fills the list."""
    chosen = []
    for task in run.tasks:
        ranked = sorted(task.cases, key=lambda case: (not _misses(case), _rank(case)))
        chosen += [(rank, not _misses(case), _rank(case), task.name, case) for rank, case in enumerate(ranked)]
    firsts = [each for each in chosen if each[0] < PER_TASK]
    firsts.sort(key=lambda each: (each[1], each[0], each[2]))
    return [(name, case) for *_, name, case in firsts[:most]]


def case_links(run: Run, viewed: Sequence[Key]) -> dict[Key, str]:
    """Into the viewer, else to the row among all cases."""
    return {key: f"#{row}" for key, row in row_ids(run).items()} | {
        key: f"#view-{position}" for position, key in enumerate(viewed)
    }


def row_ids(run: Run) -> dict[Key, str]:
    """Of a case's row; letters that a link takes as they are."""
    return {
        (task.name, case.case_id): f"case-{position}-{number_of_case}"
        for position, task in enumerate(run.tasks)
        for number_of_case, case in enumerate(task.cases)
    }


def _lowest(case: CaseResult) -> str:
    """With what was predicted although there is none of it."""
    alarms = [each for each in case.scores if each.reference_ml == 0 and each.prediction_ml > 0]
    texts = [f"; {volume(each.prediction_ml)} ml of {each.class_name} where there is none" for each in alarms]
    return f"lowest Dice{''.join(texts)}"


def _misses(case: CaseResult) -> int:
    return sum(score.complete_miss for score in case.scores)


def _rank(case: CaseResult) -> tuple[float, str]:
    return case.dice, case.case_id
