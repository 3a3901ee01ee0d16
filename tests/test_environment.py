"""Workers: of a command that is killed, and one that has grown too large."""

import os
import subprocess
import sys
import time

import pytest
from joblib import Parallel, delayed

from uniseg.environment import end_with_parent

WORK = """
import os, sys, time
from joblib import Parallel, delayed
from uniseg.environment import end_with_parent

def work():
    sys.stdout.write(f"{os.getpid()}\\n")
    sys.stdout.flush()
    time.sleep(60)

Parallel(n_jobs=2, initializer=end_with_parent)(delayed(work)() for _ in range(2))
"""
NOTICE_S = 20
GROWTH = 400_000_000  # bytes; joblib replaces a worker that has grown by 300 MB where psutil is installed


def is_alive(process):
    """A zombie, which nobody has buried in a container, is dead."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_they_end_with_their_parent():
    command = subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE, text=True)
    workers = [int(command.stdout.readline()) for _ in range(2)]
    assert os.getpid() not in workers
    assert all(is_alive(worker) for worker in workers)
    command.kill()
    command.communicate()
    end = time.monotonic() + NOTICE_S
    while time.monotonic() < end and any(is_alive(worker) for worker in workers):
        time.sleep(0.2)
    assert not any(is_alive(worker) for worker in workers)


def test_a_worker_is_replaced_where_warnings_are_errors():
    """As in these tests: the pool's thread ended with the warning, and nobody answered any more."""
    pytest.importorskip("psutil")

    def grow(call):
        if call:
            sys.ballast = b"1" * GROWTH
            time.sleep(1.1)  # a worker looks at its size once a second
        return call

    work = Parallel(n_jobs=2, timeout=60, initializer=end_with_parent)
    assert work(delayed(grow)(call) for call in (0, 0, 1, 2, 3, 4)) == [0, 0, 1, 2, 3, 4]
