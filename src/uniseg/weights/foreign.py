"""Safe reading of checkpoints that other programs wrote."""

import pickle
from pathlib import Path

import numpy as np
import torch

from uniseg.errors import InputError

SCALAR = np._core.multiarray.scalar
# What nnU-Net's logs and scores hold beside tensors and plain containers; NumPy 1 called the module of the first otherwise.
ALLOWED = [SCALAR, (SCALAR, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType]


def read_foreign(path: Path, expected: str) -> dict:
    """A pickled dict of tensors, plain containers, NumPy scalars; anything else in it is refused, not executed.

    Args:
        expected: what the file should be, for the message.

    Raises:
        InputError: unreadable, or something else.
    """
    try:
        with torch.serialization.safe_globals(ALLOWED):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else "an unreadable file"
        raise InputError(path, f"{type(error).__name__} ({reason})", expected, "give the original file") from error
    if not isinstance(content, dict):
        raise InputError(path, f"a {type(content).__name__}", expected, "give the original file")
    return content
