"""What the report tells of the weights that a run began with."""

import json
from pathlib import Path

from uniseg.reporting.run import parse

FILE = "weights.json"


def weight_rows(run_dir: Path) -> list[tuple[str, str]]:
    """(name, value) of what trained and what came from elsewhere; empty for a run of an older version.

    Raises:
        InputError: the file is malformed.
    """
    path = run_dir / FILE
    return parse(path, _rows) if path.exists() else []


def _rows(text: str) -> list[tuple[str, str]]:
    told = json.loads(text)
    rows = [("parameters that train", f"{told['trained']:,} of {told['total']:,}")]
    transfer = told["transfer"]
    if transfer is None:
        return rows
    adapted = ", ".join(sorted(set(transfer["adapted"].values()))) or "none"
    return [
        *rows,
        ("weights from", f"{transfer['source']} ({transfer['kind']})"),
        ("licence of their data", transfer["licence"]),
        (
            "numbers from there",
            f"{transfer['coverage']:.1%}: {len(transfer['loaded'])} tensors as they are, {len(transfer['adapted'])} "
            f"adapted ({adapted})",
        ),
    ]
