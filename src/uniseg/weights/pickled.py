"""PyTorch's own files, read without running what is in them and with every record checked."""

import os
import zipfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from uniseg.errors import InputError
from uniseg.weights.reading import PICKLE, ZIP, kind_of, reading

SCALAR = import_module("numpy._core.multiarray").scalar
# What nnU-Net's logs and scores hold beside tensors and plain containers; NumPy 1 called the module of the first
# otherwise.
ALLOWED = [
    SCALAR,
    (SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]


def read_pickled(path: str | os.PathLike, expected: str, fix: str, allowed: Sequence = ()) -> dict:
    """A pickled dict of tensors and plain containers; anything else in it is refused, not executed.

    The tensors of a zip file are mapped, not read.

    Args:
        expected: what the file should be, for the message.
        fix: what to do where it is not.
        allowed: functions and types that may be in it beside those.

    Raises:
        InputError: the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(path, "no such file", expected, fix)
    with reading(path, expected, fix):
        kind = kind_of(path)
        if kind not in (ZIP, PICKLE):  # torch.save since 1.6, and before
            raise InputError(path, kind, expected, fix)
        if kind == ZIP:
            _require_whole(path, expected, fix)
        with torch.serialization.safe_globals(list(allowed)):
            # Mapped, a tensor cannot claim more numbers than the file holds: torch.load believes the pickle otherwise.
            content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=kind == ZIP)
        if not isinstance(content, Mapping):
            raise InputError(path, f"a {type(content).__name__}", expected, fix)
        return dict(content)


def _require_whole(path: Path, expected: str, fix: str) -> None:
    """Whether every record has the CRC-32 that it was written with, at which torch.load does not look."""
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(record.filename.endswith("data.pkl") for record in archive.infolist()):
                raise InputError(path, "a zip archive without a model", expected, fix)
            if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
                raise InputError(path, "a zip archive of packed records", expected, fix)
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError) as error:
        raise InputError(path, f"a cut or damaged file ({error})", "the bytes that were written", fix) from error
    if damaged is not None:
        raise InputError(path, f"a damaged file (record '{damaged}')", "the bytes that were written", fix)


def read_foreign(path: Path, expected: str) -> dict:
    """A pickled dict of tensors, plain containers, NumPy scalars; anything else in it is refused, not executed.

    Args:
        expected: what the file should be, for the message.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    return read_pickled(path, expected, "give the original file", ALLOWED)
