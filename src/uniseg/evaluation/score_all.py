"""Every case of an evaluation scored, or none; in threads, while whoever makes the predictions works."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from uniseg.errors import InputError
from uniseg.evaluation.case_record import CaseRecord
from uniseg.evaluation.records import Score

T = TypeVar("T")
R = TypeVar("R")
MOST_WORKERS = 4  # each holds the maps of a case


@dataclass(frozen=True)
class ScoredCase:
    """What became of a case: its scores, with its record where it is of a run; or why it has none.

    Examples:
        >>> score_all(lambda item: ScoredCase(), ["case_7"], total=1)
        [ScoredCase(scores=(), record=None, refusal=None)]
    """

    scores: tuple[Score, ...] = ()
    record: CaseRecord | None = None
    refusal: InputError | None = None


def score_all(
    work: Callable[[T], ScoredCase], items: Iterable[T], total: int, title: str = "evaluate"
) -> list[ScoredCase]:
    """Every case, or none: a mean that lacks a case without saying so would be another's.

    Args:
        work: may raise InputError, which refuses the case.
        title: of the progress bar.

    Raises:
        InputError: the first refusal, once all cases were tried; the others are printed.
    """

    def scored_or_refused(item: T) -> ScoredCase:
        try:
            return work(item)
        except InputError as error:
            return ScoredCase(refusal=error)

    console = Console(stderr=True, soft_wrap=True)
    scored = list(track(in_order(scored_or_refused, items), title, total=total, console=console))
    refusals = [each.refusal for each in scored if each.refusal is not None]
    if refusals:
        for refusal in refusals if len(refusals) > 1 else ():
            console.print(f"refused {refusal}", markup=False, highlight=False)
        first, count = refusals[0], f"{len(refusals)} of {total} cases cannot be scored, so that nothing is"
        raise InputError(first.where, f"{first.found} ({count})", first.expected, first.fix) from first
    return scored


def in_order(work: Callable[[T], R], items: Iterable[T], num_workers: int | None = None) -> Iterator[R]:
    """``work(item)`` of every item, in order; its first error, in the order of the items, ends it.

    SciPy's and NumPy's functions on whole maps leave Python's lock alone, so threads are enough. At most twice as many
    items as threads are under way.

    Args:
        num_workers: threads; None: as many as processors, at most 4.
    """
    num_workers = num_workers or max(1, min(MOST_WORKERS, os.cpu_count() or 1))
    pool, under_way = ThreadPoolExecutor(num_workers, "score"), deque[Future[R]]()
    try:
        for item in items:
            under_way.append(pool.submit(work, item))
            while under_way and (under_way[0].done() or len(under_way) >= 2 * num_workers):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
