"""Work on one item after the other in threads, while whoever makes the items goes on; results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T, R = TypeVar("T"), TypeVar("R")
MOST_WORKERS = 4  # each holds the maps of a case


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
