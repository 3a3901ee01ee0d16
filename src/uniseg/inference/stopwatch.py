"""How long each stage of prediction takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up seconds by stage; waits for a GPU at both ends of one, so that its work counts in the stage of its call.

    Examples:
        >>> stopwatch = Stopwatch()
        >>> with stopwatch("read"):
        ...     pass
        >>> list(stopwatch.seconds)
        ['read']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        _wait()
        start = time.perf_counter()
        yield
        _wait()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
