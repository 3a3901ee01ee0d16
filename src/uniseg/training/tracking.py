"""How loggers of experiments know a run again: after a requeue, in its evaluation, in its report."""

import secrets
from pathlib import Path

from uniseg.files import read_json, write_json

FILE = "tracking.json"


def begin_tracking(run_dir: Path, name: str, group: str, *, renew: bool) -> None:
    """Write the run's ``id``, ``name``, ``group``; what is there stays, unless ``renew``."""
    if renew or not (run_dir / FILE).exists():
        write_json(run_dir / FILE, {"id": secrets.token_hex(4), "name": name, "group": group})


def tracked(key: str, run_dir: str | Path, default: str | None) -> str | None:
    """What the run in ``run_dir`` has for ``key``; ``default`` where it has nothing.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(run_dir) / FILE
    if not path.exists():
        return default
    return read_json(path, "what uniseg.train wrote for loggers", "remove the file: loggers then begin a new run").get(
        key, default
    )
