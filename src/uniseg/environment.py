"""The installation and the process: version, commit, where the configuration lies, an end with the parent."""

import os
import subprocess
import time
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from threading import Thread

PACKAGE_DIR = Path(__file__).parent
_INSTALLED = PACKAGE_DIR / "conf"
CONF_DIR = _INSTALLED if _INSTALLED.is_dir() else PACKAGE_DIR.parents[1] / "conf"
LOCAL_CONF = Path("conf")  # of the folder where a command is started
LOOK_S = 1.0  # between two looks at the parent


@cache
def uniseg_version() -> str:
    """Of the installed distribution; of a checkout that is not installed, that of its ``pyproject.toml`` with
    ``+source``.
    """
    try:
        return metadata.version("uniseg")
    except metadata.PackageNotFoundError:
        project = PACKAGE_DIR.parents[1] / "pyproject.toml"
        return f"{tomllib.loads(project.read_text())['project']['version']}+source" if project.is_file() else "unknown"


def git_commit(folder: Path) -> str:
    """Commit that the folder's tracked files lie at, ``-dirty`` where they differ; empty where git tracks none."""
    if not _git(folder, "ls-files", "."):
        return ""
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def end_with_parent() -> None:
    """Called first in a worker: ends it soon after its parent, which may have been killed."""
    Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _git(folder: Path, *arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(1)
