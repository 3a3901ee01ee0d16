"""Software that made a report, machine it ran on."""

import platform
import subprocess
from datetime import datetime
from pathlib import Path

import torch

from uniseg.environment import uniseg_version

PACKAGE_DIR = Path(__file__).parents[1]


def environment_rows() -> list[tuple[str, str]]:
    """(name, value) pairs; what cannot be found out is left out."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    rows = [
        ("processor", f"{cpu_name()}, {torch.get_num_threads()} threads"),
        ("GPU", gpu),
        ("uniseg", uniseg_version()),
        ("commit", git_commit(PACKAGE_DIR)),
        ("torch", torch.__version__),
        ("date", datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")),
    ]
    return [(name, value) for name, value in rows if value]


def cpu_name() -> str:
    """Model name of the processor as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def git_commit(folder: Path) -> str:
    """Commit that the folder's tracked files lie at, ``-dirty`` where they differ; empty where git tracks none of them."""
    if not _git(folder, "ls-files", "."):
        return ""
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str:
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
