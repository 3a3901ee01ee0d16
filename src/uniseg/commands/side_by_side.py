"""Folds side by side: each a process of its own, whose end is a line; signals and a sudden end go on to all of them."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig

LOOK_S = 0.2  # between two looks at the processes
LONGEST_STOP_S = 600  # that a fold may take to save after a signal
LONGEST_KILL_S = 10
BASE = 128  # what a shell adds to the number of the signal that ended a command
VISIBLE = "CUDA_VISIBLE_DEVICES"
STARTED = "UNISEG_STARTED_SIDE_BY_SIDE"  # set for a fold, whose standard input is open for as long as its starter lives
OWN = ("folds", "parallel", "nnunet_folds")  # arguments of the whole that are not those of a fold


def fold_command(number: int) -> list[str]:
    """What this command was given, for one fold alone."""
    hydra = HydraConfig.get()
    given = [each for each in hydra.overrides.task if each.lstrip("+~").partition("=")[0] not in OWN]
    folders = [each.path for each in hydra.runtime.config_sources if each.provider == "command-line"]
    flags = [part for folder in folders for part in ("--config-dir", folder)]
    return [sys.executable, "-m", "uniseg.crossval", *flags, *given, f"folds=[{number}]"]


def run_side_by_side(
    commands: Mapping[int, Sequence[str]], logs: Callable[[int], Path], parallel: int, say: Callable[[str], None]
) -> None:
    """Run the command of every fold, ``parallel`` at a time; what they say goes into their logs.

    Where there are several GPUs they take turns on them.

    Raises:
        SystemExit: a fold ended otherwise than well, with its exit code; the others were stopped, and resume later.
    """
    waiting, free = deque(commands), deque(range(parallel))
    running: dict[int, tuple[subprocess.Popen, int]] = {}
    with _usr1_ends():
        try:
            while waiting or running:
                while waiting and free:
                    number, slot = waiting.popleft(), free.popleft()
                    running[number] = (_start(commands[number], logs(number), slot), slot)
                    say(f"Fold {number}: at work, see {logs(number)}.")
                for number, (process, slot) in list(running.items()):
                    if process.poll() is not None:
                        del running[number]
                        _close(process)
                        free.append(slot)
                        _require_well(number, process.returncode, logs(number), say)
                time.sleep(LOOK_S)
        finally:
            _stop([process for process, _ in running.values()])


def end_with_starter() -> None:
    """Called by a fold: SIGTERM ends it, so that it saves, once the command that started it is gone, even killed."""
    if STARTED in os.environ:
        threading.Thread(target=_watch_starter, daemon=True).start()


def _watch_starter() -> None:
    with suppress(OSError):
        os.read(0, 1)  # nothing is ever written: it returns at the end of the other side
    sys.stderr.write("The command that started this fold has ended: it saves and ends too.\n")
    os.kill(os.getpid(), signal.SIGTERM)


def environment_of(slot: int, environment: Mapping[str, str], num_gpus: int) -> dict[str, str]:
    """That of a fold: with one GPU of several.

    Examples:
        >>> environment_of(1, {"CUDA_VISIBLE_DEVICES": "4,6"}, 2)
        {'CUDA_VISIBLE_DEVICES': '6'}
    """
    if num_gpus < 2:
        return dict(environment)
    names = environment[VISIBLE].split(",") if environment.get(VISIBLE) else list(map(str, range(num_gpus)))
    return {**environment, VISIBLE: names[slot % len(names)]}


def _start(command: Sequence[str], log: Path, slot: int) -> subprocess.Popen:
    """In a session of its own, so that a Ctrl-C reaches it once, from here."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = environment_of(slot, os.environ, torch.cuda.device_count()) | {STARTED: "1"}
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def _require_well(number: int, code: int, log: Path, say: Callable[[str], None]) -> None:
    if code:
        lines = log.read_text("utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing was said")
        say(f"Fold {number}: ended with exit code {code}: {last} (all of it in {log})")
        sys.exit(code if code > 0 else BASE - code)


def _stop(processes: Sequence[subprocess.Popen]) -> None:
    """Each saves and ends; what does not in time is killed."""
    for process in processes:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    end = time.monotonic() + LONGEST_STOP_S
    for process in processes:
        try:
            process.wait(timeout=max(0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=LONGEST_KILL_S)
        _close(process)


def _close(process: subprocess.Popen) -> None:
    if process.stdin is not None:
        process.stdin.close()


@contextmanager
def _usr1_ends() -> Iterator[None]:
    """SIGUSR1, which schedulers send ahead of the end, ends this process as SIGTERM does: by its folds."""
    if not hasattr(signal, "SIGUSR1") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        sys.exit(BASE + number)

    before = signal.signal(signal.SIGUSR1, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
