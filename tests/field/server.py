"""Imports the library once, then runs every command in a forked child, within limits of time and memory.

One JSON object a line comes in on standard input, one goes out on standard output per command; ``forked.Commands``
starts it.
"""

import gc
import json
import os
import resource
import select
import signal
import sys
import time
from importlib import import_module

from uniseg.commands.app import COMMANDS, MODULES, run_and_exit

POLL_S = 0.005
CHUNK, MOST_CHUNKS = 1 << 16, 100
GRACE_S = 8  # in which readers must notice that their parent has gone: PyTorch's look every five seconds


def main() -> None:
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    for name in COMMANDS:
        import_module(f"uniseg.{MODULES.get(name, name)}")
    gc.freeze()  # children then leave these pages shared
    answers.write("ready\n")
    answers.flush()
    for line in requests:
        request = json.loads(line)
        pipes = {number: os.pipe() for number in (1, 2)}  # no files, whose size a trial may limit
        pid = os.fork()
        if pid == 0:
            _become(request, pipes)
            return run_and_exit(
                request["command"]
            )  # what it raises, and how the interpreter ends, is the command's own
        for _, end in pipes.values():
            os.close(end)
        answers.write(json.dumps(_wait(pid, request, {number: end for number, (end, _) in pipes.items()})) + "\n")
        answers.flush()
    return None


def _become(request: dict, pipes: dict[int, tuple[int, int]]) -> None:
    """The process that a shell would have started."""
    os.setsid()
    for number, (reading, writing) in pipes.items():
        os.dup2(writing, number)
        os.close(reading)
        os.close(writing)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = [f"uniseg.{request['command']}", *request["overrides"]]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (request["memory_bytes"],) * 2)
    if request["file_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"],) * 2)


def _wait(pid: int, request: dict, ends: dict[int, int]) -> dict:
    """Exit code (a signal's number below 0), what was printed, seconds, whether it hangs, what outlives it."""
    start, seconds = time.monotonic(), 0.0
    due = request["signal"]
    status, is_hanging = None, False
    said = {number: bytearray() for number in ends}
    while status is None:
        time.sleep(POLL_S)
        seconds = time.monotonic() - start
        if due is not None and seconds >= due[1]:
            (os.kill if due[0] == signal.SIGKILL else os.killpg)(pid, due[0])
            due = None
        if seconds > request["timeout_s"] and not is_hanging:
            is_hanging = True
            os.killpg(pid, signal.SIGKILL)
        done, found = os.waitpid(pid, os.WNOHANG)
        status = found if done else None
        _drain(ends, said)
    outlived = _outlived(pid)
    _drain(ends, said)
    for end in ends.values():
        os.close(end)
    stdout, stderr = (said[number].decode(errors="replace") for number in (1, 2))
    code = os.waitstatus_to_exitcode(status)
    return {
        "code": code,
        "stdout": stdout,
        "stderr": stderr,
        "seconds": seconds,
        "hangs": is_hanging,
        "outlived": outlived,
    }


def _drain(ends: dict[int, int], said: dict[int, bytearray]) -> None:
    for _ in range(MOST_CHUNKS):
        readable = select.select([*ends.values()], [], [], 0)[0]
        chunks = {number: os.read(end, CHUNK) for number, end in ends.items() if end in readable}
        for number, chunk in chunks.items():
            said[number] += chunk
        if not any(chunks.values()):
            return


def _outlived(group: int) -> bool:
    end = time.monotonic() + GRACE_S
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        if time.monotonic() > end:
            os.killpg(group, signal.SIGKILL)
            return True
        time.sleep(POLL_S)


if __name__ == "__main__":
    main()
