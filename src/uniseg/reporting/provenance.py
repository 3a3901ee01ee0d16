"""What a page tells of a run beside its scores: software, machine, the weights it began with, tasks it knew before."""

import platform
from datetime import datetime
from pathlib import Path

import torch

from uniseg.environment import PACKAGE_DIR, git_commit, uniseg_version
from uniseg.evaluation.forgetting import ForgettingReport
from uniseg.run_folder import RunFolder
from uniseg.weights.transfer_report import WeightsReport


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


def weight_rows(run_dir: Path) -> list[tuple[str, str]]:
    """(name, value) of what trained and what came from elsewhere; empty for a run of an older version.

    Raises:
        InputError: the file is malformed.
    """
    path = RunFolder(run_dir).transfer_report
    if not path.exists():
        return []
    weights = WeightsReport.read(path)
    rows = [("parameters that train", f"{weights.trained:,} of {weights.total:,}")]
    if weights.restored is not None:
        rows.append(("norms restored", "; ".join(weights.restored.lines()).removeprefix("norms restored: ")))
    transfer = weights.transfer
    if transfer is None:
        return rows
    rules = ", ".join(sorted(set(transfer.adapted.values()))) or "none"
    tensors = f"{len(transfer.loaded)} tensors as they are, {len(transfer.adapted)} adapted ({rules})"
    return [
        *rows,
        ("weights from", f"{transfer.source} ({transfer.kind})"),
        ("licence of their data", transfer.licence),
        ("numbers from there", f"{transfer.coverage:.1%}: {tensors}"),
    ]


def forgetting_rows(run_dir: Path) -> list[tuple[str, str, str]]:
    """Task, largest change of a logit, voxels with another label; empty where the run extended no network.

    Raises:
        InputError: the file is malformed.
    """
    path = RunFolder(run_dir).forgetting_report
    if not path.exists():
        return []
    return [
        (
            name,
            "none: bit-identical" if change.identical else f"{change.largest:.3g}",
            f"{change.changed_fraction:.2%} of {change.num_voxels:,}",
        )
        for name, change in ForgettingReport.read(path).tasks.items()
    ]
