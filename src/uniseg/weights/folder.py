"""Folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from uniseg.files import PART

OLD = ".old"  # begins the name of what is being replaced


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to fill; at the end it takes the place of what was there, after an error it is removed.

    Raises:
        OSError: with the name of the folder; what was there is still there.
    """
    part, old = (folder.with_name(f"{what}{os.getpid()}_{folder.name}") for what in (PART, OLD))
    try:
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            os.replace(folder, old)  # a folder that is not empty cannot be replaced
        os.replace(part, folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        shutil.rmtree(old, ignore_errors=True)
