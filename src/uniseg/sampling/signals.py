"""How reader processes take the signals that end a run."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

# Windows has the first alone.
LEFT_TO_MAIN = tuple(getattr(signal, name) for name in ("SIGINT", "SIGUSR1") if hasattr(signal, name))


HAS_WAIT = hasattr(signal, "sigwaitinfo")  # not on macOS, Windows


@contextmanager
def shielded() -> Iterator[None]:
    """While readers are made: they begin with SIGTERM held back, which could else come ahead of ``leave_signals``."""
    if not HAS_WAIT:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals(worker: int) -> None:
    """A scheduler, or Ctrl-C, signals every process of a run: readers go on until the main one has saved.

    They end by SIGTERM from their own parent alone. PyTorch's readers die of any, which raises in the parent in the
    middle of a step.
    """
    for number in LEFT_TO_MAIN:
        signal.signal(number, signal.SIG_IGN)
    if HAS_WAIT:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
