"""Which rows of a table run with the fast tests."""

from collections.abc import Container, Iterable

import pytest


def rows(table: Iterable, fast: Container) -> list:
    """Parameters of a test, of which those whose first value is not in ``fast`` are slow."""
    values = [each if isinstance(each, tuple) else (each,) for each in table]
    return [pytest.param(*each, marks=() if each[0] in fast else pytest.mark.slow) for each in values]
