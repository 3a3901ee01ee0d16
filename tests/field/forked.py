"""The commands, run in forked children of one process that has imported the library."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MEMORY_BYTES = 6 << 30  # of addresses, of which PyTorch's libraries take a fifth
TIMEOUT_S = 60


@dataclass(frozen=True)
class Done:
    """How a command ended.

    Attributes:
        code: exit code; minus the number of a signal that ended it.
        seconds: it took.
        hangs: it had not ended in time.
        outlived: some process of it was there seconds after its end.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float
    hangs: bool
    outlived: bool

    @property
    def tail(self) -> str:
        """What it said last."""
        return f"exit code {self.code}: {self.stderr[-400:]}"

    @property
    def errors(self) -> list[str]:
        """The lines that tell of bad input."""
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


class Commands:
    """``run`` does what ``python -m uniseg.<command>`` does, without the seconds of the imports.

    Args:
        home: becomes HOME, with room for temporary files and what the libraries keep.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        for name in ("tmp", "libraries"):
            (home / name).mkdir(parents=True, exist_ok=True)
        own = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "MPLCONFIGDIR": str(home / "libraries")}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = (
            {key: value for key, value in os.environ.items() if not key.startswith(("UNISEG", "HYDRA", "WANDB"))}
            | own
            | threads
        )
        server = [sys.executable, str(Path(__file__).with_name("server.py"))]
        self._server = subprocess.Popen(
            server, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._server.stdout.readline() != "ready\n":
            raise RuntimeError("the server of commands did not start")

    def run(
        self,
        command: str,
        *overrides: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
        memory_bytes: int = MEMORY_BYTES,
        file_bytes: int | None = None,
        signal: tuple[int, float] | None = None,
    ) -> Done:
        """
        Args:
            file_bytes: no file grows beyond it, as on a disk that is full.
            signal: its number, seconds until it is sent: SIGKILL to the command alone, another to its readers too.
        """
        request = {
            "command": command,
            "overrides": list(overrides),
            "cwd": str(cwd),
            "env": dict(env or {}),
            "timeout_s": timeout_s,
            "memory_bytes": memory_bytes,
            "file_bytes": file_bytes,
            "signal": signal and [int(signal[0]), signal[1]],
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Done(**json.loads(self._server.stdout.readline()))

    def succeed(self, command: str, *overrides: str, cwd: Path, **limits) -> Done:
        done = self.run(command, *overrides, cwd=cwd, **limits)
        assert done.code == 0, done.tail
        return done

    def refuse(self, command: str, *overrides: str, cwd: Path, mentions: tuple[str, ...] = (), **limits) -> str:
        """The one line that a command ends with, exit code 2."""
        done = self.run(command, *overrides, cwd=cwd, **limits)
        assert "Traceback" not in done.stderr, done.tail
        assert (done.code, len(done.errors)) == (2, 1), done.tail
        (line,) = done.errors
        for text in mentions:
            assert text in line
        return line

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._server.stdout.close()
