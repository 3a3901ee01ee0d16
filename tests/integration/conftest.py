"""A small phantom suite with everything that follows from it, made once, through the commands a user types."""

from pathlib import Path

import pytest

from started import TINY, succeed


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A folder with outputs/phantoms and outputs/cache."""
    folder = tmp_path_factory.mktemp("run")
    succeed("prepare", "experiment=demo", *TINY, "num_workers=1", cwd=folder)
    return folder


@pytest.fixture(scope="session")
def trained(prepared) -> Path:
    """The same folder after two epochs with validation."""
    succeed("train", "experiment=demo", *TINY, cwd=prepared)
    return prepared
