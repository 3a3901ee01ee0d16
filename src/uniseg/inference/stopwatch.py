"""How long each stage of prediction takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch


class Stopwatch:
    """Adds up seconds by stage: of the clock, or of what was queued on a GPU, which nothing waits for until the seconds
    are read.

    Examples:
        >>> stopwatch = Stopwatch()
        >>> with stopwatch("read"):
        ...     pass
        >>> list(stopwatch.seconds)
        ['read']
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._pending: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._lock = Lock()  # scans are read and written in other threads

    @contextmanager
    def __call__(self, stage: str, device: torch.device | None = None) -> Iterator[None]:
        """
        Args:
            device: where the work of the stage is queued, if it is on a GPU.
        """
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
