"""Work in threads, results in order."""

import threading
import time

import pytest

from uniseg import InputError
from uniseg.evaluation.score_all import in_order


def test_results_come_in_order_while_items_are_made():
    names = set()

    def work(n):
        names.add(threading.current_thread().name)
        time.sleep(0.05 * (n % 3 == 0))
        return n * n

    assert list(in_order(work, range(20), 3)) == [n * n for n in range(20)]
    assert len(names) > 1
    assert list(in_order(work, [])) == []


def test_few_items_are_under_way():
    made, taken, most = [], [], []

    def items():
        for n in range(30):
            made.append(n)
            most.append(len(made) - len(taken))
            yield n

    for n in in_order(lambda n: (time.sleep(0.005), n)[1], items(), 2):
        taken.append(n)
    assert max(most) <= 2 * 2 + 1


def test_an_error_comes_out_as_it_is_and_ends_the_threads():
    threads, begun = threading.active_count(), []

    def work(n):
        begun.append(n)
        if n == 3:
            raise InputError("a", "b", "c", "d")
        time.sleep(0.01)
        return n

    results = in_order(work, range(100), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="a: found b; expected c; d"):
        next(results)
    assert max(begun) < 10
    assert threading.active_count() == threads


def test_who_stops_taking_ends_the_threads():
    threads = threading.active_count()
    results = in_order(lambda n: n, range(100), 2)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == threads
