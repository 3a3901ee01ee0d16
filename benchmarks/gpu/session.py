"""One run of the benchmark: its time, its workers, its results, written after every line that a worker says."""

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu.scale import NAME, Scale
from gpu.workers import Worker

SPARE_S = 4.0  # for ending workers and writing the table
LEAST_S = 8.0  # below which nothing is started
READY_S = 60.0  # imports and the network


@dataclass(frozen=True)
class Job:
    """A measurement in a process of its own.

    Attributes:
        name: where its results stand, dots between levels: ``step.auto``.
        limit_s: from its start or its turn on.
    """

    name: str
    module: str
    limit_s: float
    given: dict[str, Any] = field(default_factory=dict)


class Session:
    """Starts jobs and keeps what they say.

    Args:
        out: folder of the JSON file.
        folder: for what workers need; the caller removes it.
        limit_s: of everything.
    """

    def __init__(self, scale: Scale, out: Path, folder: Path, limit_s: float) -> None:
        self.scale, self.out, self.folder = scale, out, folder
        self.start_s, self.limit_s = time.perf_counter(), limit_s
        self.workers: list[Worker] = []
        self.lock = threading.RLock()
        self.results: dict[str, Any] = {
            "device": scale.device,
            "tiny": scale.tiny,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "commit": _commit(),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "parts": {},
            "ended": {},
        }
        out.mkdir(parents=True, exist_ok=True)

    def left(self) -> float:
        return self.limit_s - SPARE_S - (time.perf_counter() - self.start_s)

    def start(self, job: Job) -> Worker | None:
        """None where no time is left, which is noted."""
        if self.left() < LEAST_S:
            self.note(job.name, "skipped: no time left")
            return None
        log = self.folder / f"{job.name}.log"
        worker = Worker(job.module, self.scale, job.given, log, lambda said: self.keep(said.pop(NAME, job.name), said))
        self.workers.append(worker)
        return worker

    def finish(self, job: Job, worker: Worker | None) -> None:
        if worker is not None:
            self.note(job.name, worker.wait(min(job.limit_s - worker.elapsed_s(), self.left())))

    def together(self, jobs: Sequence[Job]) -> None:
        """Jobs that may disturb each other."""
        started = [(job, self.start(job)) for job in jobs]
        for _, worker in started:
            if worker is not None:
                worker.go()
        for job, worker in started:
            self.finish(job, worker)

    def in_turn(self, jobs: Sequence[Job]) -> None:
        """One after another alone on the card; the next one imports what it needs while one measures."""
        jobs = list(jobs)
        ahead = self.start(jobs[0]) if jobs else None
        for job, following in zip(jobs, [*jobs[1:], None], strict=True):
            worker = ahead
            if worker is not None:
                worker.is_ready.wait(min(READY_S, max(0.0, self.left())))
                worker.go()
            ahead = None if following is None else self.start(following)
            self.finish(job, worker)

    def keep(self, name: str, values: dict[str, Any]) -> None:
        place = self.results["parts"]
        for part in name.split("."):
            place = place.setdefault(part, {})
        place |= values
        self.write()
        for key, value in values.items():
            say(f"{name} {key}: {shown(value)}")

    def note(self, name: str, ended: str) -> None:
        self.results["ended"][name] = ended
        say(f"{name}: {ended} ({time.perf_counter() - self.start_s:.0f} s)")
        self.write()

    def end(self) -> None:
        """Whatever still runs is killed."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        self.results["seconds"] = round(time.perf_counter() - self.start_s, 1)
        self.write()

    @property
    def path(self) -> Path:
        card = self.results["parts"].get("rates", {}).get("card") or self.scale.device
        return self.out / f"{'_'.join(str(card).lower().split())}{'_tiny' * self.scale.tiny}.json"

    def write(self) -> None:
        """Called by the thread of every worker."""
        with self.lock:
            part = self.out / f".part{os.getpid()}.json"
            part.write_text(json.dumps(rounded(self.results), indent=1) + "\n")
            os.replace(part, self.path)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def rounded(value: Any) -> Any:
    """Four digits say enough."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


def shown(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "".join(f"\n    {' '.join(str(rounded(each)) for each in row.values())}" for row in value)
    return str(rounded(value))


def wait_for(ready: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and not ready():
        time.sleep(0.1)
    return ready()


def _commit() -> str:
    """Empty where git does not know the checkout."""
    import subprocess

    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
