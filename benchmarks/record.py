"""Rows of ``results.json``, with the table ``RESULTS.md`` that is made from them."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import tables

RESULTS = Path(__file__).parent / "results.json"
TABLE = RESULTS.with_name("RESULTS.md")
COLUMNS = ("name", "ours", "anchor", "ratio", "unit", "command", "machine", "commit")


def one_core() -> None:
    """Keep the numeric libraries of this process, and of those it starts, to one thread.

    Call it before they are imported.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLOSC_NTHREADS"):
        os.environ[name] = "1"


def record(name: str, ours: float, anchor: float | None, unit: str, *, more_is_better: bool = False) -> None:
    """Replace the row called ``name``, or add it."""
    ratio = None if anchor is None else ours / anchor if more_is_better else anchor / ours
    values = (name, ours, anchor, ratio, unit, _command(), _machine(), _commit())
    row = {
        key: float(f"{value:.4g}") if isinstance(value, float) else value
        for key, value in zip(COLUMNS, values, strict=True)
    }
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    rows = (
        [row if old["name"] == name else old for old in rows] if name in [old["name"] for old in rows] else [*rows, row]
    )
    _write(RESULTS, json.dumps(rows, indent=1) + "\n")
    write_table()
    sys.stdout.write(f"{name}: ours {row['ours']}, anchor {row['anchor']}, ratio {row['ratio']} ({unit})\n")


def write_table() -> None:
    """``RESULTS.md`` again."""
    _write(TABLE, tables.text(RESULTS))


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".part{os.getpid()}_{path.name}")
    part.write_text(text)
    os.replace(part, path)


def _command() -> str:
    """As typed, without the folders of this machine."""
    words = [
        f"benchmarks/{Path(sys.argv[0]).name}",
        *(Path(word).name if word.startswith("/") else word for word in sys.argv[1:]),
    ]
    return " ".join(["python", *words])


def _machine() -> str:
    models = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores"


def _commit() -> str:
    words = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(words, capture_output=True, text=True, check=True, cwd=RESULTS.parent).stdout.strip()
