"""One process that runs the commands, one network that they start from."""

from collections.abc import Iterator

import pytest

from field.base import Base, make_base
from field.forked import Commands


@pytest.fixture(scope="session")
def commands(tmp_path_factory) -> Iterator[Commands]:
    started = Commands(tmp_path_factory.mktemp("home"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def base(commands, tmp_path_factory) -> Base:
    return make_base(commands, tmp_path_factory.mktemp("base"))
