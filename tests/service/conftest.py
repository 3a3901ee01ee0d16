"""A service that all tests of a file share."""

import pytest

from served import TOKEN, running

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with running(tmp_path_factory.mktemp("served"), TOKEN) as service:
        yield service
