"""Parts in processes of their own: started, read line by line, ended at their limit; what they said is kept."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu.scale import MARK, Scale

HERE = Path(__file__).parents[1]
SOURCE = HERE.parent / "src"


class Worker:
    """One process of ``python -m gpu.<module>``.

    Attributes:
        results: all that it said so far.

    Args:
        log: file that takes what it writes to stderr.
        on_result: called with each line's values.
    """

    def __init__(
        self,
        module: str,
        scale: Scale,
        given: dict[str, Any],
        log: Path,
        on_result: Callable[[dict[str, Any]], None] = lambda values: None,
    ) -> None:
        self.results: dict[str, Any] = {}
        self.log, self.on_result = log, on_result
        self.is_ready = threading.Event()
        self.start_s = time.perf_counter()
        words = [sys.executable, "-m", f"gpu.{module}", json.dumps({"scale": scale.to_dict(), **given})]
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment(scale),
                start_new_session=True,
            )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def go(self) -> None:
        """It is its turn, from which its time counts."""
        self.start_s = time.perf_counter()
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except OSError:  # it has ended
            pass

    def elapsed_s(self) -> float:
        return time.perf_counter() - self.start_s

    def wait(self, seconds: float) -> str:
        """How it ended: ``done``, or why not; after ``seconds`` it is killed with all that it started."""
        try:
            code = self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self.kill()
            return f"cut off after {self.elapsed_s():.0f} s"
        self.reader.join(5)
        if skipped := self.results.get("skipped"):
            return f"skipped: {skipped}"
        return "done" if code == 0 else f"failed: {self.last_line() or f'exit code {code}'}"

    def kill(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(3)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.reader.join(5)

    def last_line(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def _read(self) -> None:
        for line in self.process.stdout:
            _, mark, text = line.partition(MARK)
            if not mark:
                continue
            values = json.loads(text)
            if values.pop("ready", False):
                self.is_ready.set()
            if values:
                self.results |= values
                self.on_result(values)
        self.is_ready.set()


def environment(scale: Scale) -> dict[str, str]:
    """The checkout's source comes first; nothing of it needs to be installed."""
    paths = [str(SOURCE), str(HERE), *([scale.nnunet] if scale.nnunet else []), os.environ.get("PYTHONPATH", "")]
    given = {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONUNBUFFERED": "1"}
    if scale.tiny:
        given |= {"OMP_NUM_THREADS": "1"}
    return os.environ | given
