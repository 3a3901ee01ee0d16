"""What a training took, out of what it said: hours, epochs, devices; facts, no estimate of energy."""

import re
from pathlib import Path

from uniseg.run_folder import RunFolder

EPOCH = re.compile(r" epoch (\d+), step (\d+): .*?, (\d+(?:\.\d+)?) s$")
DEVICE = re.compile(r" Device (.+), precision (\S+)\.$")
PROCESSES = re.compile(r", (\d+) processes$")
SECONDS_PER_HOUR = 3600


def cost_rows(run_dir: Path) -> list[tuple[str, str]]:
    """(name, value); empty for a run without a log of lines."""
    path = RunFolder(run_dir).train_log
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []
    epochs: dict[int, tuple[float, int]] = {}
    devices: dict[str, None] = {}  # as an ordered set
    processes = 1
    for line in lines:
        if found := EPOCH.search(line):
            epochs[int(found[1])] = (float(found[3]), processes)  # trained again after a stop: the last counts
        elif found := DEVICE.search(line):
            devices[f"{found[1]}, precision {found[2]}"] = None
            processes = _processes(found[1])
    rows = [("trained on", "; then ".join(devices))] if devices else []
    if not epochs:
        return rows
    seconds = sorted(each for each, _ in epochs.values())
    typical = f"{seconds[len(seconds) // 2]:.1f} s"
    hours = f"{sum(seconds) / SECONDS_PER_HOUR:.2f} hours"
    device_hours = sum(each * number for each, number in epochs.values()) / SECONDS_PER_HOUR
    if any(number > 1 for _, number in epochs.values()):
        hours = f"{hours}, {device_hours:.2f} device hours"
    return [("training took", f"{hours}: {len(epochs)} epochs of {typical}"), *rows]


def _processes(device: str) -> int:
    found = PROCESSES.search(device)
    return int(found[1]) if found else 1
