"""Workers of a command that is killed."""

import os
import subprocess
import sys
import time

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
