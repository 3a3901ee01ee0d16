"""What reader processes do with the signals that end a run: they wait for the main process to save."""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

# Handled by the main process alone. Windows has only the first.
IGNORED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGUSR1") if hasattr(signal, name))
HAS_WAIT = hasattr(signal, "sigwaitinfo")  # not on macOS, Windows


@contextmanager
def sigterm_blocked() -> Iterator[None]:
    """While readers are started: they inherit a blocked SIGTERM, which could else come before
    ``ignore_signals_in_worker``.
    """
    if not HAS_WAIT:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals_in_worker(worker: int) -> None:
    """For ``worker_init_fn``: a scheduler, or Ctrl-C, signals every process of a run; readers work until the main one
    has saved.

    They end by SIGTERM from their parent alone. PyTorch's readers die of any, which raises in the parent in the middle
    of a step. What the parent had made is never collected here: a thread of the parent may have held the lock of a
    GPU's allocator when the reader was forked, and who frees a tensor of the GPU then waits for it forever.
    """
    gc.freeze()
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if HAS_WAIT:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
