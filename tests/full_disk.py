"""A disk without room, as a limit on the length of files."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def small_disk(size: int = 1000) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes; writes fail with EFBIG.

    Held no longer than a write: a log of the tests may be longer.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
