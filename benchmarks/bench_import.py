"""Seconds of ``import uniseg`` in a new process, beyond those of a Python that imports nothing.

python benchmarks/bench_import.py
"""

import argparse
import subprocess
import sys
import time
from statistics import median

from record import record

REPEATS = 9


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    seconds("import uniseg")  # compiles
    pairs = [(seconds("import uniseg"), seconds("")) for _ in range(REPEATS)]
    record("import uniseg", median(a - b for a, b in pairs), None, f"s, median of {REPEATS}")


if __name__ == "__main__":
    main()
