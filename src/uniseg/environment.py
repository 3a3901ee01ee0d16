"""Which uniseg this is, installed or run from a source checkout."""

import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path


@cache
def uniseg_version() -> str:
    """Of the installed distribution; of a checkout that is not installed, that of its ``pyproject.toml`` with ``+source``."""
    try:
        return metadata.version("uniseg")
    except metadata.PackageNotFoundError:
        project = Path(__file__).parents[2] / "pyproject.toml"
        return f"{tomllib.loads(project.read_text())['project']['version']}+source" if project.is_file() else "unknown"
