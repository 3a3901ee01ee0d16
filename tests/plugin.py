"""Puts the package of ``plugin_package`` on the path, with the metadata that installing it would write."""

import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "plugin_package"


def install(folder: Path, patch: pytest.MonkeyPatch, *, entry_points: bool = True) -> None:
    """Until ``patch`` is undone; ``folder`` holds the metadata.

    Args:
        entry_points: whether it registers those of its ``pyproject.toml``.
    """
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"] if entry_points else {}
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    patch.syspath_prepend(str(folder))
    patch.syspath_prepend(str(PACKAGE))
