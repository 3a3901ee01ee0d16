"""What the report tells of the tasks that the network knew before the run."""

import json
from pathlib import Path

from uniseg.reporting.run import parse

FILE = "old_tasks.json"


def old_task_rows(run_dir: Path) -> list[tuple[str, str, str]]:
    """Task, largest change of a logit, voxels with another label; empty where the run extended no network.

    Raises:
        InputError: the file is malformed.
    """
    path = run_dir / FILE
    return parse(path, _rows) if path.exists() else []


def _rows(text: str) -> list[tuple[str, str, str]]:
    return [
        (
            name,
            "none: bit-identical" if own["identical"] else f"{own['largest']:.3g}",
            f"{own['moved'] / own['voxels']:.2%} of {own['voxels']:,}",
        )
        for name, own in json.loads(text).items()
    ]
