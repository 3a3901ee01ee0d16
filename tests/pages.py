"""The commands that a page of docs/ shows, in their order."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def commands_of(page: str) -> list[str]:
    """Without installations and lines of comment."""
    blocks = re.findall(r"^```bash\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if not line.startswith(("pip ", "#"))]
