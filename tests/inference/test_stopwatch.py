"""Stages on a GPU are timed by its own clock, which is read at the end."""

from typing import ClassVar

import torch

from uniseg.inference.stopwatch import Stopwatch


class Event:
    """Of a GPU on which every event is 250 ms after the last; ``log`` keeps what is asked of it."""

    log: ClassVar[list[str]] = []

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self, stream):
        self.log.append("record")
        self.number = len(self.log)

    def synchronize(self):
        self.log.append("synchronize")

    def elapsed_time(self, other):
        return 250.0 * (other.number - self.number)


def test_nothing_waits_before_the_seconds_are_read(monkeypatch):
    monkeypatch.setattr(Event, "log", [])
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    stopwatch, cuda = Stopwatch(), torch.device("cuda")
    for stage in ("encode", "decode", "decode"):
        with stopwatch(stage, cuda):
            pass
    assert Event.log == ["record"] * 6
    assert stopwatch.seconds == {"encode": 0.25, "decode": 0.5}
    assert Event.log[6:] == ["synchronize"] * 3
    assert stopwatch.seconds == {"encode": 0.25, "decode": 0.5}, "each is counted once"


def test_on_a_processor_by_the_clock(monkeypatch):
    times = iter([1.0, 1.5, 3.0, 4.0])
    monkeypatch.setattr("uniseg.inference.stopwatch.time.perf_counter", lambda: next(times))
    stopwatch = Stopwatch()
    for _ in range(2):
        with stopwatch("read", torch.device("cpu")):
            pass
    assert stopwatch.seconds == {"read": 1.5}
