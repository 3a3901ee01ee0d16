"""How long each stage of prediction takes, and who wants to know where it is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

import torch

WINDOWS = "windows"  # what the listener hears with the fraction that is done


class Stopwatch:
    """Adds up seconds by stage: of the clock, or of what was queued on a GPU, which nothing waits for until the seconds
    are read.

    Attributes:
        listener: is told of every stage that begins, and with ``WINDOWS`` which fraction of a scan's windows is done;
            what it raises ends the prediction. Scans are read and written in other threads. None: nobody listens.

    Examples:
        >>> stopwatch = Stopwatch()
        >>> with stopwatch("read"):
        ...     pass
        >>> list(stopwatch.seconds)
        ['read']
    """

    def __init__(self) -> None:
        self.listener: Callable[[str, float], None] | None = None
        self._seconds: dict[str, float] = {}
        self._pending: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._lock = Lock()  # scans are read and written in other threads

    @contextmanager
    def __call__(self, stage: str, device: torch.device | None = None) -> Iterator[None]:
        """
        Args:
            device: where the work of the stage is queued, if it is on a GPU.
        """
        self.tell(stage)
        if device is None or device.type != "cuda":
            start = time.perf_counter()
            yield
            self._add(stage, time.perf_counter() - start)
            return
        start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start_event.record(torch.cuda.current_stream(device))
        yield
        end_event.record(torch.cuda.current_stream(device))
        with self._lock:
            self._seconds.setdefault(stage, 0.0)
            self._pending.append((stage, start_event, end_event))

    def tell(self, stage: str, fraction: float = 0.0) -> None:
        """Let the listener know."""
        if self.listener is not None:
            self.listener(stage, fraction)

    @property
    def seconds(self) -> dict[str, float]:
        """By stage; waits for what a GPU has still to do."""
        self.settle()
        return dict(self._seconds)

    def settle(self) -> None:
        """Count what was queued on a GPU, once it is done."""
        with self._lock:
            pending, self._pending = self._pending, []
        for stage, start, end in pending:
            end.synchronize()
            self._add(stage, start.elapsed_time(end) / 1000)

    def _add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
