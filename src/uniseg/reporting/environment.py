"""Software that made a report, machine it ran on."""

import platform
from datetime import datetime
from pathlib import Path

import torch

from uniseg.environment import PACKAGE_DIR, git_commit, uniseg_version


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
