"""Safe reading of checkpoints that other programs wrote."""

from pathlib import Path

import numpy as np

from uniseg.weights.pickled import read_pickled

SCALAR = np._core.multiarray.scalar
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


def read_foreign(path: Path, expected: str) -> dict:
    """A pickled dict of tensors, plain containers, NumPy scalars; anything else in it is refused, not executed.

    Args:
        expected: what the file should be, for the message.

    Raises:
        InputError: unreadable, or something else.
    """
    return read_pickled(path, expected, "give the original file", ALLOWED)
